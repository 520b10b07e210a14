"""The processes that run SUMO: a zygote that forks, and one supervised child per session.

    worker ──Launch + descriptors──► zygote ──fork──► child: confine, load, step … Finished, _exit
       └──────────── Plan, Durable, Stop ─────────────►│
       ◄──────────── Started, Interval, Failed ────────┘

One thread, no gRPC, no event loop: libsumo holds the GIL for whole steps, and a fork copies only one thread.
"""
