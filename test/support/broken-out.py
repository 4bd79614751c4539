"""What a guest that took over its QEMU could do in its server's folder, as its user; runs until it is ended.

Arguments: a way, and a file outside that is not its own.
"""
import json
import os
import socket
import sys
import threading
import time

way, victim = sys.argv[1], sys.argv[2]
KNOWN = {'base.raw', 'layer-0.qcow2', 'seed.iso'}


def quietly(action, *arguments):
    try:
        return action(*arguments)
    except OSError:
        return None


def replace():
    """Whatever appears becomes a link to the victim, or the base, before it is looked at again."""
    turn = 0
    while True:
        for name in os.listdir('.'):
            if name in KNOWN or os.path.islink(name):
                continue
            turn += 1
            quietly(os.rename, name, 'mine')
            if turn % 2:
                quietly(os.symlink, victim, name)
            else:
                quietly(os.rename, 'base.raw', name)
                quietly(os.unlink, name)


def logs():
    """The base is each log in turn, and has another name less while it is open."""
    while True:
        for name in ('qemu.log', 'serial.log'):
            quietly(os.rename, 'base.raw', name)
            quietly(os.rename, name, 'base.raw')


def obstacles():
    """Folders where files are to be, deeper than a path can say; and who owns a folder may close it."""
    for name in ('image.sock', 'serial.log', 'serial.log.1', 'layer-1.qcow2', 'layer-77.qcow2', 'seed.iso~'):
        quietly(os.rename, name, name + '.old')
        quietly(os.mkdir, name)
        os.mkdir(name + '/in')
        os.symlink('/', name + '/in/root')
    os.mkdir('t')
    for _ in range(30):
        os.mkdir('up')
        os.rename('t', 'up/' + 'd' * 200)
        os.rename('up', 't')
    for name in ('image.sock', 't'):
        os.chmod(name, 0)
    os.chmod('.', 0)
    threading.Event().wait()


def monitor():
    """A monitor that says that the guest's disk is the victim, and floods whoever listens."""
    os.rename('monitor.sock', 'real.sock')
    listener = socket.socket(socket.AF_UNIX)
    listener.bind('monitor.sock')
    listener.listen()
    blocks = [{'qdev': 'disk', 'node-name': victim, 'backing': {'node-name': 'base'}}]

    def flood(connection, turn):
        while connection.fileno() >= 0:
            with turn:
                quietly(connection.sendall, b'{"event":"X"}\n' * 4096)
            time.sleep(0.001)

    def serve(connection):
        lines = connection.makefile('rb')
        connection.sendall(b'{"QMP":{}}\n')
        turn = threading.Lock()
        threading.Thread(target=flood, args=(connection, turn), daemon=True).start()
        for line in lines:
            asked = json.loads(line)
            jobs = [{'id': str(n), 'status': 'running'} for n in range(10000)]
            answers = {'query-blockstats': blocks, 'query-jobs': jobs, 'quit': None}
            answer = answers.get(asked['execute'], {'status': 'running'})
            if answer is not None:
                text = json.dumps({'id': asked['id'], 'return': answer})
                with turn:
                    connection.sendall(text.encode() + b'\n')

    print('ready', flush=True)
    while True:
        threading.Thread(target=quietly, args=(serve, listener.accept()[0]), daemon=True).start()


{'replace': replace, 'logs': logs, 'obstacles': obstacles, 'monitor': monitor}[way]()
