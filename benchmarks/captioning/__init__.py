"""How good captions are: clips recorded once, told again, judged against events noted by hand, shown as a page."""
