"""Serves ``project.py`` of the current folder; the options are the first argument, as JSON."""

import json
import logging
import sys

from twogate.config import Config
from twogate.errors import ConfigError
from twogate.observe.observer import Observer
from twogate.process import supervisor


def main() -> int:
    options = json.loads(sys.argv[1])
    supervisor.START_TIMEOUT = options.pop("start_timeout", 60.0)
    level = getattr(logging, options.pop("level", "DEBUG"))
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(message)s")
    sys.path.insert(0, ".")
    try:
        return supervisor.serve(
            Config(**options), load="project:load", observer=lambda config: Observer()
        )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
