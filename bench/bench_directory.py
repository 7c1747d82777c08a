"""The directory with many agents: to find some, to add one, and what is said of a capability that nobody has."""

from math import inf

from caxton.core.directory.descriptions import Description, Service, service_of
from caxton.core.directory.directory import Directory


def described(name: str, *capabilities: str) -> Description:
    return Description(name=name, services=tuple(service_of(each) for each in capabilities))


class Searching:
    params = (100, 10_000)
    param_names = ("agents",)

    def setup(self, agents: int) -> None:
        self.directory = Directory()
        for number in range(agents):
            said = described(f"a{number}", f"kind-{number % 100}", "all")
            self.directory.put(f"a{number}", "declared", said, inf, 0.0)
        self.few = Description(services=(Service(type="kind-7"),))
        self.all = Description(services=(Service(type="all"),))
        self.one = described("new", "kind-7", "all")

    def time_few(self, agents: int) -> None:
        self.directory.search(self.few, 0.0, limit=100)

    def time_all(self, agents: int) -> None:
        self.directory.search(self.all, 0.0, limit=100)

    def time_put(self, agents: int) -> None:
        self.directory.put("new", "declared", self.one, inf, 0.0)
        self.directory.forget("new", 0.0)

    def time_related(self, agents: int) -> None:
        self.directory.related("kind-x", 0.0)
