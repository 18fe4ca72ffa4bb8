"""What `python -m dagster_project ui` refuses before it starts anything."""

from __future__ import annotations

import socket

from dagster_project.__main__ import main


def test_a_port_in_use_is_one_line_with_the_remedy(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", "--port", str(port), "--home", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == f"port {port} of 127.0.0.1 is in use; end what listens there, or name another with --port\n"
    )
    assert list(tmp_path.iterdir()) == []
