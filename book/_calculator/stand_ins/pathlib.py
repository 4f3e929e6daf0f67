"""Stands in for `pathlib` in the page: the files are those that the build has inlined (`inlined.FILES`)."""

from inlined import FILES


class Path:
    def __init__(self, path):
        self.path = str(path)

    def with_name(self, name):
        """A neighbour of a module's file; all our modules are in one package."""
        return Path(f"deepseek_explained/{name}")

    def __truediv__(self, name):
        return Path(f"{self.path}/{name}")

    @property
    def stem(self):
        return self.path.rpartition("/")[2].rpartition(".")[0]

    def glob(self, pattern):
        ending = pattern.removeprefix("*")
        return [
            Path(path)
            for path in FILES
            if path.startswith(f"{self.path}/") and path.endswith(ending)
        ]

    def read_text(self, encoding="utf-8"):
        return FILES[self.path]
