"""Config files for NVIDIA's deepstream-app: generated from a model's card, and checked against it.

What to generate:
    deployment.py           platform, sources, sinks and Triton mode, as dataclasses
Which keys exist:
    key_tables.py           groups and keys of deepstream-app's file and of nvinfer's config
    nvinferserver_schema.py messages and fields of nvinferserver's config
    key_files.py            reads and writes key files with these tables
Write, `xpnet deploy`:
    config_writer.py        writes all files of a deployment
    app_file.py             text of the file that `deepstream-app -c` reads
    app_groups.py           its groups, as dataclasses
    infer_config.py         text of the inference config, for nvinferserver or nvinfer
    examples/               generated files, checked in
Check, `xpnet deploy --check`:
    config_check.py         checks any such file, also one that was written by hand
    card_checks.py          compares its values with the model's card
"""
