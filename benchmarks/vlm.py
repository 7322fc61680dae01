"""A vision–language model in this process: what each saving saves, against transformers' own ``generate``.

The weights are random, as no model lies in the repository: time does not depend on what they are. What does depend on
it, how many guesses are right, is measured on texts that the model is made to say.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT, CannotRun, Quick, Result, Table, conclude, progress
from benchmarks.process import busy_clip, need_weights, run, streamcap
from streamcap.config import AnswerForm
from streamcap.models.language import Piece
from streamcap.prompts import Prompt, Style, Told, WindowTask, build_window
from streamcap.types import Look

__all__ = ["measure"]

# The shape of SmolVLM2-256M-Video-Instruct, by its config.json.
TEXT = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "head_dim": 64,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49280, "max_position_embeddings": 8192,
}  # fmt: skip
VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 512, "patch_size": 16,
}  # fmt: skip
PICTURES = {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}, "resample": 1}
SPECIAL = ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"]
ANSWER = 64
TOWER = "here, its tower exported to ONNX"
PAIRS = 12


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way to answer a window.

    Attributes:
        first_s: until the first token stands.
        token_s: for each one more.
    """

    first_s: float
    token_s: float

    def answer_s(self, tokens: int) -> float:
        """For an answer of so many tokens."""
        return self.first_s + self.token_s * (tokens - 1)


def measure(*, quick: bool = False) -> Result:
    """Time the ways on each device that is there.

    Raises:
        CannotRun: torch is not installed, or there are no weights for the captions that the model is made to say.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise CannotRun("torch and transformers are not installed: pip install 'streamcap[torch]'") from error
    need_weights()
    transformers.utils.logging.set_verbosity_error()
    said = _captions(quick=quick)
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    tables: list[Table] = []
    figures: dict[str, Any] = {}
    settings: dict[str, Any] = {"layers": {}, "answer_tokens": ANSWER, "texts": len(said)}
    with progress("vlm", 3 * len(devices)) as step, tempfile.TemporaryDirectory() as folder:
        for device in devices:
            bench = _Bench(said, device, quick=quick)
            if device == "cpu":  # for a GPU a tower is built, see benchmarks/gpu.py
                bench.export_tower(Path(folder))
            step(f"{device}: tower")
            ways = bench.ways(2 if quick else 3)
            step(f"{device}: ways")
            guesses = bench.guesses()
            step(f"{device}: guesses")
            bench.close()
            tables += [_ways_table(ways, device), _guess_table(guesses, device)]
            figures[device] = {"ways": {name: _figures(cost) for name, cost in ways.items()}, "guesses": guesses}
            settings["layers"] = bench.layers
            settings["prompt_tokens"] = bench.prompt_tokens
    return Result("vlm", settings, figures, tables, notes=[_note(bench)], quick=quick)


class _Bench:
    """One model on one device, and the window that it is asked about."""

    def __init__(self, said: Sequence[str], device: str, *, quick: bool) -> None:
        import torch
        from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

        from streamcap.models.vlm.chat import Chat
        from streamcap.models.vlm.families import SmolVLM

        self.layers = {"text": 6 if quick else TEXT["num_hidden_layers"], "vision": 3 if quick else 12}
        self.said = said
        self.tokenizer = _tokenizer(said)
        config = SmolVLMConfig(
            text_config=TEXT | {"num_hidden_layers": self.layers["text"]},
            vision_config=VISION | {"num_hidden_layers": self.layers["vision"]},
            scale_factor=4,
            image_token_id=self.tokenizer.convert_tokens_to_ids("<image>"),
        )
        torch.manual_seed(0)
        model = SmolVLMForConditionalGeneration(config).to(torch.bfloat16 if device == "cuda" else torch.float32)
        model.generation_config.eos_token_id = None
        self.family = SmolVLM(model.to(device).eval().requires_grad_(False), PICTURES, picture_tokens=64)
        self.chat = Chat(self.tokenizer, picture=SmolVLM.picture, template=SmolVLM.template)
        self.device = device
        self.tower: Any = None
        self.prompt = replace(self._prompt(0), answer=None)
        self.sights = [self.family.see(picture.image) for picture in self.prompt.pictures]
        self.prompt_tokens = len(self.chat.tokens(self.prompt, self.sights).ids)

    def _prompt(self, number: int) -> Prompt:
        """A window of two pictures after a text that was said before, with the draft of its caption."""
        rng = np.random.default_rng(number)
        looks = tuple(
            Look(at, rng.integers(0, 255, (378, 672, 3), dtype=np.uint8), ()) for at in (number + 0.2, number + 1.0)
        )
        task = WindowTask(
            looks[0].t, looks[1].t, looks, previous=(Told(self.said[number], looks[0].t),), draft=self.said[number + 1]
        )
        return build_window(task, Style(form=AnswerForm.TEXT, max_tokens=ANSWER))

    def export_tower(self, folder: Path) -> None:
        """Export the model's own vision tower, and open it in ONNX Runtime; it has to give the same answer.

        Raises:
            CannotRun: what exports it is not installed, or its answer is another.
        """
        try:
            from engines.manifest import load_manifest
            from engines.work import Work, begin
        except ImportError as error:
            raise CannotRun(f"{error.name} is not installed: pip install 'streamcap[engines]'") from error
        import torch

        from streamcap.models.graph import Precision
        from streamcap.models.vlm.exported import open_tower

        model, graphs = folder / "model", folder / "graphs"
        self.family.model.save_pretrained(model)
        (model / "preprocessor_config.json").write_text(json.dumps(PICTURES), "utf-8")
        entry = load_manifest().model("smolvlm2-500m-vision")
        Work(entry, *begin(entry, source=str(model)), graphs).export(Precision.FP32)
        self.tower = open_tower(graphs, gpu=False, threads=torch.get_num_threads())
        own, other = (_said(self.runner(tower=tower), self.prompt) for tower in (None, self.tower))
        if own != other:
            raise CannotRun(f"the exported tower has the model answer {other!r} in place of {own!r}")

    def close(self) -> None:
        """Let go of the exported tower."""
        if self.tower is not None:
            self.tower.close()

    def runner(self, *, tower: Any = None, **savings: bool) -> Any:
        from streamcap.models.vlm.reader import Savings

        kept = Savings(**(dict.fromkeys(("prefix", "pictures", "lookup", "grammar"), False) | savings))
        return _scripted()(self.family, self.tokenizer, self.chat, ends=[], tower=tower, savings=kept)

    def ways(self, repeats: int) -> dict[str, Cost]:
        """The ways in turn, so that a slow minute of the machine meets all of them; of each the quickest."""
        kept, known = self.runner(prefix=True), self.runner(prefix=True, pictures=True)
        plain = self.runner()
        ways: dict[str, Callable[[int], object]] = {
            "generate, its default cache": lambda n: self._generate(n),
            "generate, static cache": lambda n: self._generate(n, cache_implementation="static", disable_compile=True),
            "here, nothing kept": lambda n: _drain(plain, replace(self.prompt, max_tokens=n)),
            **self._with_tower(),
            "+ constant prefix kept": lambda n: _drain(kept, replace(self.prompt, max_tokens=n)),
            "+ pictures seen before": lambda n: _drain(known, replace(self.prompt, max_tokens=n)),
        }
        for way in ways.values():
            way(2)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                taken[name].append((self._timed(way, 1), self._timed(way, ANSWER)))
        return {
            name: Cost(
                first := min(first for first, _ in times), (min(whole for _, whole in times) - first) / (ANSWER - 1)
            )
            for name, times in taken.items()
        }

    def _with_tower(self) -> dict[str, Callable[[int], object]]:
        """The way through the exported tower, where there is one."""
        if self.tower is None:
            return {}
        running = self.runner(tower=self.tower)
        return {TOWER: lambda n: _drain(running, replace(self.prompt, max_tokens=n))}

    def guesses(self) -> dict[str, dict[str, float]]:
        """What prompt lookup saves where the answer is the draft, or only follows the text before."""
        found = {}
        cases = {"the draft, as it is": 1, "a text after the one before": 0}
        for case, own in cases.items():
            alone = self.runner(prefix=True, pictures=True)
            looking = self.runner(prefix=True, pictures=True, lookup=True)
            seconds = {"looking": 0.0, "alone": 0.0}
            for number in range(min(PAIRS, len(self.said) - 1)):
                answer = self.chat.encode(self.said[number + 1])
                echo = (self.said[number + own],)
                for name, running in (("alone", alone), ("looking", looking)):
                    running.script = list(answer)
                    prompt = replace(self.prompt, echo=echo, max_tokens=len(answer) + 1)
                    seconds[name] += self._decoding(running, prompt)
            found[case] = {
                "tokens": looking.work.tokens,
                "tokens_a_pass": round(looking.work.tokens / max(1, looking.work.passes), 2),
                "kept_share": round(looking.work.kept / max(1, looking.work.guessed), 2),
                "speed_up": round(seconds["alone"] / seconds["looking"], 2),
            }
        return found

    def _decoding(self, running: Any, prompt: Prompt) -> float:
        """Seconds from the first piece of an answer to its end."""
        pieces = running.answer(prompt)
        next(pieces)
        self._wait()
        began = time.perf_counter()
        for _ in pieces:
            pass
        self._wait()
        return time.perf_counter() - began

    def _generate(self, tokens: int, **options: Any) -> None:
        import torch

        ids = torch.tensor([self.chat.tokens(self.prompt, self.sights).ids], device=self.device)
        pixels = torch.from_numpy(np.concatenate([sight.pixels for sight in self.sights]))[None].to(self.device)
        self.family.model.generate(
            input_ids=ids, pixel_values=pixels, max_new_tokens=tokens, do_sample=False, pad_token_id=0, **options
        )

    def _timed(self, way: Callable[[int], object], tokens: int) -> float:
        began = time.perf_counter()
        way(tokens)
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def _scripted() -> Any:
    """A runner that says what it is told to say, at what it costs to say it."""
    from streamcap.models.vlm.runner import Runner

    class Script:
        def __init__(self, tokens: Sequence[int]) -> None:
            self._left = list(tokens)

        @property
        def done(self) -> bool:
            return not self._left

        def next(self, best: int, scores: Any) -> int:
            return self._left.pop(0)

        def fixed(self) -> list[int]:
            return []

        def fitting(self, tokens: Sequence[int]) -> int:
            return len(tokens)

    class Scripted(Runner):
        script: Sequence[int] = ()

        def _choice(self, prompt: Prompt) -> Any:
            return Script(self.script) if self.script else super()._choice(prompt)

    return Scripted


def _said(running: Any, prompt: Prompt) -> str:
    return "".join(piece.text for piece in _drain(running, prompt))


def _drain(running: Any, prompt: Prompt) -> list[Piece]:
    return list(running.answer(prompt))


def _captions(*, quick: bool) -> list[str]:
    """Texts that follow each other, as streamcap says them of the busy clip."""
    clip = busy_clip()
    with tempfile.TemporaryDirectory() as folder:
        end = ["--to", "20"] if quick else []
        run(streamcap("caption", clip.source, "--format", "jsonl", "-o", f"{folder}/captions.jsonl", *end))
        lines = Path(folder, "captions.jsonl").read_text("utf-8").splitlines()
    said = [text for line in lines if (text := str(json.loads(line).get("text", "")))]
    if len(said) < 3:
        raise CannotRun(f"{clip.name} gives too few captions")
    return said


def _tokenizer(said: Sequence[str]) -> Any:
    """A vocabulary of this documentation's English: about four characters a token, as a real one has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
    trainer = trainers.BpeTrainer(
        vocab_size=8000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words.train_from_iterator([*texts, *said], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end_of_utterance>", additional_special_tokens=SPECIAL
    )


def _figures(cost: Cost) -> dict[str, float]:
    return {
        "first_token_ms": round(1000 * cost.first_s, 1),
        "token_ms": round(1000 * cost.token_s, 2),
        "tokens_a_second": round(1 / cost.token_s, 2),
        "windows_a_minute": round(60 / cost.answer_s(ANSWER), 2),
    }


def _ways_table(ways: dict[str, Cost], device: str) -> Table:
    base = next(iter(ways.values())).answer_s(ANSWER)
    rows = []
    for name, cost in ways.items():
        shown = _figures(cost)
        rows.append((name, *(f"{value:g}" for value in shown.values()), f"{base / cost.answer_s(ANSWER):.2f}×"))
    headers = ("way", "first token ms", "token ms", "tokens/s", "windows/min", "whole answer")
    return Table(headers, tuple(rows), f"A window of two pictures, an answer of {ANSWER} tokens, on {device}")


def _guess_table(guesses: dict[str, dict[str, float]], device: str) -> Table:
    rows = tuple(
        (
            case,
            f"{found['tokens']:g}",
            f"{found['kept_share']:.0%}",
            f"{found['tokens_a_pass']:g}",
            f"{found['speed_up']:g}×",
        )
        for case, found in guesses.items()
    )
    headers = ("the answer is", "tokens", "guesses right", "tokens a pass", "decoding")
    return Table(headers, rows, f"Prompt lookup on {device}")


def _note(bench: _Bench) -> str:
    text, vision = bench.layers["text"], bench.layers["vision"]
    return (
        f"Random weights in the shape of SmolVLM2-256M ({text} layers of text, {vision} of vision, one tile of 512×512 "
        f"a picture), a prompt of {bench.prompt_tokens} tokens; float32 on a processor, bfloat16 on a GPU; nothing "
        "compiled. “Whole answer” is against the first line; each of our lines with a + keeps what the one before "
        "keeps. The exported tower runs in ONNX Runtime on as many threads, keeps nothing, and gives the same answer. "
        "For prompt lookup the model is made to say captions that streamcap itself gives of a clip, one after the "
        "other: the share of right guesses is that of these texts, and another for a model's own words; the time the "
        "model's."
    )


def main(quick: Quick = False) -> None:
    """What each saving of a vision–language model in this process saves."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(main)
