"""What runs in the page, in a worker: takes what was typed as JSON, answers with JSON."""

import json
import math

from browser import self as worker
from calculators import FIRST_DRAWS, answer


def on_message(event):
    request = json.loads(event.data)
    draws = FIRST_DRAWS if request["first"] else math.inf
    try:
        reply = answer(request["key"], request["typed"], draws)
    except Exception as error:
        reply = {"message": f"{type(error).__name__}: {error}", "field": ""}
    worker.send(json.dumps({"number": request["number"], "key": request["key"], **reply}))


worker.bind("message", on_message)
worker.send(json.dumps({"ready": True}))
