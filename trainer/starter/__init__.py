"""The starter model: a very small chat model that is shipped with Tuneway, so that everything can be tried without a download.

`STARTER` is its directory, in Hugging Face format. `python -m trainer.starter.train` makes it again.
"""

import pathlib

STARTER = pathlib.Path(__file__).parent / "model"
