"""The process model: messages, mailboxes, refs and the runtime. Nothing here knows supervisors."""

from actors.actor import Actor
from actors.dispatch import handles
from actors.exits import (
    ActorDied,
    ActorError,
    CallCycle,
    CallTimeout,
    Crashed,
    Exit,
    Killed,
    MailboxFull,
    Normal,
    NoSuchActor,
    Shutdown,
    StartFailed,
    Unhandled,
    is_orderly,
)
from actors.isolation.ends import ProcessDied, RemoteError
from actors.isolation.options import Process
from actors.messages import Call, Down, Envelope, Idle, Refusal
from actors.middleware import Middleware, Next
from actors.monitors import Monitor
from actors.place import State
from actors.ref import Ref
from actors.replies import Later
from actors.runtime.system import Startable, System, open_system
from actors.schedule import ActorTimer
from actors.statemachine import StateMachine, enter, state_function

__all__ = [
    "Actor",
    "ActorDied",
    "ActorError",
    "ActorTimer",
    "Call",
    "CallCycle",
    "CallTimeout",
    "Crashed",
    "Down",
    "Envelope",
    "Exit",
    "Idle",
    "Killed",
    "Later",
    "MailboxFull",
    "Middleware",
    "Monitor",
    "Next",
    "NoSuchActor",
    "Normal",
    "Process",
    "ProcessDied",
    "Ref",
    "Refusal",
    "RemoteError",
    "Shutdown",
    "StartFailed",
    "Startable",
    "State",
    "StateMachine",
    "System",
    "Unhandled",
    "enter",
    "handles",
    "is_orderly",
    "open_system",
    "state_function",
]
