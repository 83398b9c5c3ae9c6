"""Chat templates, conversations, and what training makes of them, written down to be read.

    templates/NAME.jinja    after the published template of a model family
    conversations.json      OpenAI's format: `messages`, `tools`
    NAME.txt                what that template makes of every conversation: see `report.py`

After a change that is meant, write the .txt files anew and read the difference:

    .venv/bin/python -m tests.trainer.golden
"""
