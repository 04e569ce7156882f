"""Video sources and outputs: files, image folders, V4L2, SDI, RTSP, screen."""
