"""Serves one GStreamer pipeline by GStreamer's own RTSP server.

rtspserver.py PIPELINE [USER PASSWORD [CERTIFICATE.pem]]

It takes a free port of 127.0.0.1 and prints it; the stream's path is /cam. It
ends with its standard input.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch("( " + sys.argv[1] + " )")
server.get_mount_points().add_factory("/cam", factory)
if len(sys.argv) > 3:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(2)  # Digest
    if len(sys.argv) > 4:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(sys.argv[4]))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(sys.argv[2], sys.argv[3], token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.attach(None)
print(server.get_bound_port(), flush=True)
loop = GLib.MainLoop()
GLib.io_add_watch(GLib.IOChannel.unix_new(0), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
loop.run()
