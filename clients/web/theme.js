// Before anything is drawn, so that the page never shows the other theme first. A plain script: modules come later.
{
  const chosen = localStorage.getItem("streamcap.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}
