%% OTP, the works done by gen_servers under OTP's own supervisor: one JSON line for WORK and N.
%%
%% It is compiled, and run by a virtual machine with a single scheduler (see otp.py), so that it has
%% one core, as the Python peers have. Messages are literals; what a work does is told in its
%% Python namesakes.
-module(otp).

-export([main/1]).
-export([start_link/1, init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(BURST, 1000).
-define(CALLERS, 100).
-define(RING, 1000).
-define(FAN, 1000).
-define(FLEET, 100).

main([Work, Number]) ->
    logger:set_primary_config(level, none),
    N = rounded(Work, list_to_integer(Number)),
    spawn(fun() ->
        Status =
            try
                perform(Work, rounded(Work, min(N div 20, 20000))),
                print(Work, N, perform(Work, N)),
                0
            catch
                Kind:Reason:Stack ->
                    io:format(standard_error, "~p: ~p~n~p~n", [Kind, Reason, Stack]),
                    1
            end,
        halt(Status)
    end).

%% Each performance in a process of its own, so that a warm-up leaves no heap behind.
perform(Work, N) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Self ! {sample, work(Work, N)} end),
    receive
        {'DOWN', Monitor, process, Pid, normal} -> receive {sample, Sample} -> Sample end;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

rounded(Work, N) ->
    Step = case Work of
        "cast" -> ?BURST;
        "call_100" -> ?CALLERS;
        "ring" -> ?RING;
        "fanout" -> ?FAN;
        _ -> 1
    end,
    max(1, (N + Step - 1) div Step) * Step.

print(Work, N, {Seconds, Extra}) ->
    io:format(
        "{\"work\": \"~s\", \"peer\": \"otp\", \"n\": ~b, \"seconds\": ~.9f, \"rate\": ~.3f~s}~n",
        [Work, N, Seconds, N / Seconds,
         [io_lib:format(", \"~s\": ~.9f", [Key, Value]) || {Key, Value} <- Extra]]).

timed(Fun) ->
    garbage_collect(),
    Began = erlang:monotonic_time(),
    Result = Fun(),
    Took = erlang:monotonic_time() - Began,
    {Took / erlang:convert_time_unit(1, second, native), Result}.

%% The works

work("cast", N) ->
    {ok, Pid} = start_link(counter),
    {Seconds, N} = timed(fun() -> bursts(Pid, N div ?BURST, 0) end),
    {Seconds, []};
work("call", N) ->
    {ok, Pid} = start_link(counter),
    {Seconds, N} = timed(fun() -> calls(Pid, N, 0) end),
    {Seconds, []};
work("call_async", N) ->
    work("call", N);
work("call_100", N) ->
    {ok, Pid} = start_link(counter),
    {Seconds, _} = timed(fun() ->
        Callers = [spawn_monitor(fun() -> calls(Pid, N div ?CALLERS, 0) end)
                   || _ <- lists:seq(1, ?CALLERS)],
        [receive {'DOWN', Monitor, process, _, normal} -> ok end || {_, Monitor} <- Callers]
    end),
    N = gen_server:call(Pid, {add, 0}),
    {Seconds, []};
work("ring", N) ->
    {ok, First} = start_link({first, N div ?RING, self()}),
    Onward = lists:foldl(
        fun(_, Next) -> {ok, Pid} = start_link({member, Next}), Pid end,
        First, lists:seq(2, ?RING)),
    ok = gen_server:call(First, {link, Onward}),
    {Seconds, done} = timed(fun() ->
        gen_server:cast(Onward, token),
        receive done -> done end
    end),
    {Seconds, []};
work("fanout", N) ->
    Workers = [begin {ok, Pid} = start_link(worker), Pid end || _ <- lists:seq(1, ?FAN)],
    {ok, Hub} = start_link({hub, Workers, self()}),
    {Seconds, done} = timed(fun() ->
        gen_server:cast(Hub, {go, N div ?FAN}),
        receive done -> done end
    end),
    {Seconds, []};
work("spawn", N) ->
    {ok, Crew} = supervisor:start_link(?MODULE, crew),
    {Started, _} = timed(fun() -> start_children(Crew, N) end),
    N = proplists:get_value(active, supervisor:count_children(Crew)),
    {Stopped, ok} = timed(fun() -> stop(Crew) end),
    {Started + Stopped, [{"start_seconds", Started}, {"stop_seconds", Stopped}]};
work("spawn_100k", N) ->
    work("spawn", N);
work("memory", N) ->
    {ok, Crew} = supervisor:start_link(?MODULE, crew),
    garbage_collect(Crew),
    garbage_collect(),
    Before = erlang:memory(total),
    {Seconds, _} = timed(fun() -> start_children(Crew, N) end),
    garbage_collect(Crew),
    garbage_collect(),
    After = erlang:memory(total),
    ok = stop(Crew),
    {Seconds, [{"bytes_each", (After - Before) / N}]};
work("crash", N) ->
    {crash(N, 1), []};
work("crash_spread", N) ->
    {crash(N, ?FLEET), []}.

crash(N, Supervisors) ->
    Fleet = [begin {ok, Sup} = supervisor:start_link(?MODULE, {guard, self()}), Sup end
             || _ <- lists:seq(1, Supervisors)],
    Pids = [receive {up, Pid} -> Pid end || _ <- Fleet],
    {Seconds, Crashed} = timed(fun() -> crashes(N, Pids, []) end),
    Supervisors = length(Crashed),
    [ok = stop(Sup) || Sup <- Fleet],
    Seconds.

bursts(_, 0, Total) ->
    Total;
bursts(Pid, Left, _) ->
    casts(Pid, ?BURST),
    bursts(Pid, Left - 1, gen_server:call(Pid, {add, 0})).

casts(_, 0) ->
    ok;
casts(Pid, Left) ->
    gen_server:cast(Pid, {add, 1}),
    casts(Pid, Left - 1).

calls(_, 0, Total) ->
    Total;
calls(Pid, Left, _) ->
    calls(Pid, Left - 1, gen_server:call(Pid, {add, 1})).

start_children(_, 0) ->
    ok;
start_children(Crew, Left) ->
    {ok, _} = supervisor:start_child(Crew, []),
    start_children(Crew, Left - 1).

%% One child after the other crashes; its successor announces itself from its init and is called.
crashes(0, Pids, Done) ->
    Pids ++ Done;
crashes(Left, [], Done) ->
    crashes(Left, lists:reverse(Done), []);
crashes(Left, [Pid | Pids], Done) ->
    gen_server:cast(Pid, crash),
    receive
        {up, Next} ->
            1 = gen_server:call(Next, {add, 1}),
            crashes(Left - 1, Pids, [Next | Done])
    end.

stop(Sup) ->
    Monitor = monitor(process, Sup),
    unlink(Sup),
    exit(Sup, shutdown),
    receive {'DOWN', Monitor, process, Sup, shutdown} -> ok end.

%% The servers and their supervisors

start_link(Role) ->
    gen_server:start_link(?MODULE, Role, []).

init(crew) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => counter, start => {?MODULE, start_link, [counter]}}]}};
init({guard, Owner}) ->
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1},
          [#{id => fragile, start => {?MODULE, start_link, [{fragile, Owner}]}}]}};
init({fragile, Owner}) ->
    Owner ! {up, self()},
    {ok, 0};
init(counter) ->
    {ok, 0};
init(Role) ->
    {ok, Role}.

handle_call({add, Amount}, _From, Total) when is_integer(Total) ->
    {reply, Total + Amount, Total + Amount};
handle_call({link, Onward}, _From, {first, Laps, Owner}) ->
    {reply, ok, {first, Laps, Owner, Onward}}.

handle_cast({add, Amount}, Total) when is_integer(Total) ->
    {noreply, Total + Amount};
handle_cast(token, {member, Onward} = State) ->
    gen_server:cast(Onward, token),
    {noreply, State};
handle_cast(token, {first, 1, Owner, _}) ->
    Owner ! done,
    {noreply, idle};
handle_cast(token, {first, Laps, Owner, Onward}) ->
    gen_server:cast(Onward, token),
    {noreply, {first, Laps - 1, Owner, Onward}};
handle_cast({ask, Hub}, worker) ->
    gen_server:cast(Hub, answer),
    {noreply, worker};
handle_cast({go, Rounds}, {hub, Workers, Owner}) ->
    {noreply, round_of({hub, Workers, Owner, Rounds, 0})};
handle_cast(answer, {hub, Workers, Owner, 1, ?FAN - 1}) ->
    Owner ! done,
    {noreply, {hub, Workers, Owner}};
handle_cast(answer, {hub, Workers, Owner, Rounds, ?FAN - 1}) ->
    {noreply, round_of({hub, Workers, Owner, Rounds - 1, 0})};
handle_cast(answer, {hub, Workers, Owner, Rounds, Gathered}) ->
    {noreply, {hub, Workers, Owner, Rounds, Gathered + 1}};
handle_cast(crash, Total) when is_integer(Total) ->
    error(boom).

handle_info(_, State) ->
    {noreply, State}.

round_of({hub, Workers, _, _, _} = State) ->
    Request = {ask, self()},
    lists:foreach(fun(Worker) -> gen_server:cast(Worker, Request) end, Workers),
    State.
