"""Does one thing with one release, as Helm does: the SDK of Helm itself. Reads what from standard input, as JSON."""

import json
import sys

from helm_python import Config

asked = json.load(sys.stdin)
helm = Config(kubeconfig_path=asked["kubeconfig"], namespace=asked["namespace"])
act = getattr(helm, asked["action"])
done = act(*asked["positional"], **asked["named"])
json.dump(done, sys.stdout, default=str)
