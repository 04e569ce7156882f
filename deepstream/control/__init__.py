"""Control of a running graph: what is drawn, its state, and the HTTP service for both.

appearance.py   what the user chose: on or off, shape, colour, opacity, threshold
controls.py     the choices of a run: change, save, restore, audit trail
state.py        the state of a run as JSON and as Prometheus metrics
preview.py      the newest frame as JPEG
http_service.py the HTTP service; page.html is its page
service.py      all of it for one run
recording.py    what can be asked of the recorder
client.py       requests to it, for `xpnet run set`
keys.py         keys pressed in the window
"""
