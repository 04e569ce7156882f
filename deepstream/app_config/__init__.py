"""Ready files for NVIDIA's deepstream-app, written from a model's card and checked against it.

cart                  platform, sources, sinks, way of inference
 └─ deploy            their files: `xpnet deploy`
     ├─ app_config    the groups of deepstream-app's file
     └─ infer_config  what nvinferserver or nvinfer is told of the model
check                 a file, ours or another's: `xpnet deploy --check`
 └─ fits              and whether it fits the model's card
keys, key_files, nvinferserver_schema: what NVIDIA's parsers know
"""
