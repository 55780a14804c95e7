"""One HTML file to explore runs: `content` is what it says, as plain JSON; `page` its files, how it looks."""
