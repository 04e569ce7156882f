"""The video graph: source, inference, overlay probe and output, on two platforms.

Plain GStreamer runs inference through Triton or in this process; DeepStream runs nvinferserver.

    run.py          `xpnet run`: settings in, summary out
    platforms/      plain GStreamer and DeepStream: settings, checks, inference
    io/             sources and outputs
    graph/          description of the graph, element tables, pipeline, drawing
    probes/         pad probes: masks, overlay, polyps
    control/        what a user changes and sees of a run: choices, state, HTTP service
    recording/      recordings and stills
    bench/          measurements of the graph and of the picture
    player.py       plays a graph to its end
    run_summary.py  what a run reports; statistics.py measures it
    app_config/     files of `xpnet deploy` for NVIDIA's deepstream-app
"""
