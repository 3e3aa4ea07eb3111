# Takes snapshots of RBD images at one moment: opens the images, says so, waits for the word, takes one of each, and says how that went.
#
#     rbd-moment.py CONF KEYRING USER POOL NAMESPACE IMAGE SNAPSHOT [IMAGE SNAPSHOT ...]
#
# Answers are lines: `ready`, `taken`, or `error NUMBER WORDS`. What a snapshot of ours was left behind by a former attempt is removed
# on the way; the names of ours begin with `for-`. Ends by itself, or with its input. Not here: what is made of the snapshots (rbd-images.ts).

import os
import sys
import threading

import rados
import rbd

USER_NAMESPACE = 0


def say(text):
    os.write(1, (text + "\n").encode("utf-8", "replace"))


def say_error(error):
    number = abs(getattr(error, "errno", None) or 5)
    say("error %d %s" % (number, " ".join(str(error).split())))


def drop_left_over(image, wanted):
    for snapshot in list(image.list_snaps()):
        name = snapshot["name"]
        if snapshot.get("namespace", USER_NAMESPACE) == USER_NAMESPACE and name.startswith("for-") and name != wanted:
            image.remove_snap(name)


def at_once(work, items):
    """Does something to each in a thread of its own; raises what the first that failed says."""
    errors = []

    def do_one(item):
        try:
            work(*item)
        except Exception as error:  # Said to who asked, whatever it is.
            errors.append(error)

    threads = [threading.Thread(target=do_one, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def main(conf, keyring, user, pool, namespace, *rest):
    pairs = list(zip(rest[0::2], rest[1::2]))
    opened = []

    def open_one(name, snapshot):
        image = rbd.Image(context, name)
        opened.append((image, snapshot))
        drop_left_over(image, snapshot)

    try:
        cluster = rados.Rados(conffile=conf, name="client." + user, conf={"keyring": keyring})
        cluster.connect()
        context = cluster.open_ioctx(pool)
        context.set_namespace(namespace)
        at_once(open_one, pairs)
        say("ready")
        if sys.stdin.readline() != "":
            at_once(lambda image, snapshot: image.create_snap(snapshot), opened)
            say("taken")
    except Exception as error:
        say_error(error)
    # One that ended without a word would be waited for by everybody who changes these images, for 30 s.
    at_once(lambda image, _: image.close(), opened)


main(*sys.argv[1:])
os._exit(0)
