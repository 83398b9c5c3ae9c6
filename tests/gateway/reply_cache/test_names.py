"""Names of kept replies."""

from gateway.reply_cache.names import name_of, of_generation, of_project, project_of

SECRET = "k" * 40


class TestNameOf:
    def test_begins_with_its_project_and_generation(self) -> None:
        name = name_of(SECRET, "proj_1", 2, [b"a"])
        assert name.startswith(of_generation("proj_1", 2))
        assert name.startswith(of_project("proj_1"))
        assert project_of(name) == "proj_1"

    def test_everything_counts(self) -> None:
        names = [
            name_of(SECRET, "p", 0, [b"ab", b"c"]),
            name_of(SECRET, "p", 0, [b"a", b"bc"]),
            name_of(SECRET, "p", 0, [b"abc"]),
            name_of(SECRET, "p", 0, [b"ab", b"c", b""]),
            name_of("j" * 40, "p", 0, [b"ab", b"c"]),
            name_of(SECRET, "q", 0, [b"ab", b"c"]),
        ]
        assert len({name.rpartition(":")[2] for name in names}) == len(names)
        assert names[0] == name_of(SECRET, "p", 0, [b"ab", b"c"])
