"""Files for NVIDIA's deepstream-app, generated from a model's card and checked against it.

deployment.py           platform, sources, sinks and Triton mode of a deployment
config_writer.py        writes its files: `xpnet deploy`
app_groups.py           the groups of deepstream-app's file
infer_config.py         the config of nvinferserver or nvinfer
config_check.py         checks a file, ours or another's: `xpnet deploy --check`
card_checks.py          compares a config with the model's card
key_tables.py           the groups and keys that NVIDIA's parsers accept
key_files.py            reads and writes key files by these tables
nvinferserver_schema.py the messages and fields that nvinferserver accepts
examples/               generated files, checked in
"""
