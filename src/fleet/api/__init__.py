"""The daemon's HTTP API: one for the command line, scripts, metrics and whatever else looks at a fleet.

app.py       the routes
sse.py       the journal as server-sent events
metrics.py   the fleet in Prometheus's form
guard.py     who may ask over TCP: token and Host header
openapi.py   the document that describes it all
"""
