%% Plays scripts on OTP's own supervisor. One script a line on standard input, as an Erlang term; its
%% log on standard output, one line for each event, answer and tree, the last line "end".
%%
%% {Failing, Top, Ops}        Failing: [{Id, how many of the next starts fail}]
%% {worker, Id, Restart, Significant, Shutdown, RaisesInTerminate}
%% {group, Id, Restart, Significant, MaxRestarts, Strategy, AutoShutdown, Children}
%% {dynamic, Id, Restart, Significant, MaxRestarts, ChildRestart}
-module(differential).
-export([main/0, start_group/1, start_worker/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(PERIOD, 3600).
-define(PATIENCE, 5000).

main() ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    loop().

loop() ->
    case io:get_line("") of
        eof ->
            halt(0);
        Line ->
            {ok, Tokens, _} = erl_scan:string(Line),
            {ok, Script} = erl_parse:parse_term(Tokens),
            io:put_chars([[Each, $\n] || Each <- play(Script)] ++ "end\n"),
            loop()
    end.

%% -- scripts

play({Failing, Top, Ops}) ->
    board = ets:new(board, [named_table, public, ordered_set]),
    ets:insert(board, {clock, 0}),
    [ets:insert(board, {{fail, Id}, Count}) || {Id, Count} <- Failing],
    Log = case start_group(Top) of
        {ok, Pid} ->
            {Known, First} = record(Pid, ok),
            {_, Steps} = lists:foldl(
                fun(Op, {Before, Done}) ->
                    {After, Step} = record(Pid, do(Op, Before)),
                    {After, [Step | Done]}
                end,
                {Known, [First]},
                Ops
            ),
            {_, Last} = record(Pid, ended(Pid, fun() -> exit(Pid, shutdown) end)),
            lists:append(lists:reverse([Last | Steps]));
        {error, _} ->
            events() ++ ["= error", ": ended"]
    end,
    flush(),
    ets:delete(board),
    Log.

record(Top, Answer) ->
    Deadline = erlang:monotonic_time(millisecond) + ?PATIENCE,
    {Known, Tree} = quiet(Top, Deadline),
    {Known, events() ++ [["= ", atom_to_list(Answer)], [": ", Tree]]}.

events() ->
    Events = ets:select(board, [{{{event, '_'}, '$1'}, [], ['$1']}]),
    ets:match_delete(board, {{event, '_'}, '_'}),
    Events.

flush() ->
    receive _ -> flush() after 0 -> ok end.

%% -- operations; Known: the pid of everybody who runs, by id

do({fail, Id, Count}, _) ->
    ets:insert(board, {{fail, Id}, Count}),
    ok;
do({decline, Id, Count}, _) ->
    ets:insert(board, {{decline, Id}, Count}),
    ok;
do({crash, Id}, Known) ->
    with(Id, Known, fun(Pid) -> ended(Pid, fun() -> gen_server:cast(Pid, crash) end) end);
do({crash_both, Parent, One, Other}, Known) ->
    with(Parent, Known, fun(Sup) ->
        with(One, Known, fun(A) ->
            with(Other, Known, fun(B) ->
                sys:suspend(Sup),
                ended(A, fun() -> gen_server:cast(A, crash) end),
                ended(B, fun() -> gen_server:cast(B, crash) end),
                sys:resume(Sup)
            end)
        end)
    end);
do({kill, Id}, Known) ->
    with(Id, Known, fun(Pid) -> ended(Pid, fun() -> exit(Pid, kill) end) end);
do({leave, Id, Reason}, Known) ->
    with(Id, Known, fun(Pid) ->
        ended(Pid, fun() -> gen_server:cast(Pid, {leave, reason(Reason)}) end)
    end);
do({end_group, Id, Reason}, Known) ->
    with(Id, Known, fun(Pid) ->
        ended(Pid, fun() -> catch gen_server:stop(Pid, reason(Reason), infinity) end)
    end);
do({start_child, Sup, Child}, Known) ->
    ask(Sup, Known, fun(Pid) -> supervisor:start_child(Pid, spec(Child)) end);
do({start_dynamic, Sup, {worker, Id, _, _, _, Raises}}, Known) ->
    case Known of
        #{Id := _} -> taken;
        #{} -> ask(Sup, Known, fun(Pid) -> supervisor:start_child(Pid, [Id, Raises]) end)
    end;
do({stop_child, Sup, Id}, Known) ->
    ask(Sup, Known, fun(Pid) -> supervisor:terminate_child(Pid, Id) end);
do({stop_dynamic, Sup, Id}, Known) ->
    with(Id, Known, fun(Child) ->
        ask(Sup, Known, fun(Pid) -> supervisor:terminate_child(Pid, Child) end)
    end);
do({restart_child, Sup, Id}, Known) ->
    ask(Sup, Known, fun(Pid) -> supervisor:restart_child(Pid, Id) end);
do({delete_child, Sup, Id}, Known) ->
    ask(Sup, Known, fun(Pid) -> supervisor:delete_child(Pid, Id) end);
do({count_children, Sup}, Known) ->
    count(Sup, [specs, active, supervisors, workers], Known);
do({count_dynamic, Sup}, Known) ->
    count(Sup, [active, supervisors, workers], Known).

count(Sup, Keys, Known) ->
    with(Sup, Known, fun(Pid) ->
        Counts = supervisor:count_children(Pid),
        Words = [integer_to_list(proplists:get_value(Key, Counts)) || Key <- Keys],
        list_to_atom(lists:append(lists:join(" ", Words)))
    end).

with(Id, Known, Do) ->
    case Known of
        #{Id := Pid} -> Do(Pid);
        #{} -> absent
    end.

ask(Sup, Known, Ask) ->
    with(Sup, Known, fun(Pid) -> word(catch Ask(Pid)) end).

word(ok) -> ok;
word({ok, _}) -> ok;
word({error, {already_started, _}}) -> already_started;
word({error, Known}) when Known =:= already_present; Known =:= not_found;
                          Known =:= running; Known =:= restarting -> Known;
word({error, _}) -> error;
word({'EXIT', _}) -> gone.

reason(why) -> {shutdown, why};
reason(Reason) -> Reason.

ended(Pid, Do) ->
    Monitor = monitor(process, Pid),
    Do(),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    after ?PATIENCE -> stuck
    end.

%% -- the tree, once everything that was asked for has been done

quiet(Top, Deadline) ->
    case is_process_alive(Top) of
        false ->
            {#{}, "ended"};
        true ->
            try
                look(top, Top, #{top => Top})
            catch
                throw:busy -> again(Top, Deadline);
                exit:_ -> again(Top, Deadline)
            end
    end.

again(Top, Deadline) ->
    case erlang:monotonic_time(millisecond) > Deadline of
        true -> {#{}, "not quiet"};
        false -> erlang:yield(), quiet(Top, Deadline)
    end.

look(Id, Sup, Known) ->
    %% Allowed: OTP lists the youngest child first, and dynamic children in no order.
    Children = case supervisor:which_children(Sup) of
        [{undefined, _, _, _} | _] = Dynamic ->
            lists:sort([{dynamic_id(Pid), Pid, Type} || {_, Pid, Type, _} <- Dynamic]);
        Static ->
            lists:reverse([{Child, Pid, Type} || {Child, Pid, Type, _} <- Static])
    end,
    {Texts, All} = lists:mapfoldl(fun look_at/2, Known#{Id => Sup}, Children),
    {All, [atom_to_list(Id), "[", lists:join(" ", Texts), "]"]}.

look_at({_, restarting, _}, _) ->
    throw(busy);
look_at({Id, undefined, _}, Known) ->
    {[atom_to_list(Id), "-"], Known};
look_at({Id, Pid, Type}, Known) ->
    case {is_process_alive(Pid), Type} of
        {false, _} ->
            throw(busy);
        {true, worker} ->
            {[atom_to_list(Id), "+"], Known#{Id => Pid}};
        {true, supervisor} ->
            {After, Text} = look(Id, Pid, Known),
            {Text, After}
    end.

dynamic_id(restarting) -> throw(busy);
dynamic_id(Pid) ->
    case ets:lookup(board, {id, Pid}) of
        [{_, Id}] -> Id;
        [] -> throw(busy)
    end.

%% -- supervisors and workers

start_group(Group) ->
    supervisor:start_link(?MODULE, Group).

start_worker(Id, Raises) ->
    gen_server:start_link(?MODULE, {worker, Id, Raises}, []).

spec({worker, Id, Restart, Significant, Shutdown, Raises}) ->
    #{id => Id, start => {?MODULE, start_worker, [Id, Raises]}, restart => Restart,
      shutdown => Shutdown, significant => Significant, type => worker};
spec(Group) ->
    #{id => element(2, Group), start => {?MODULE, start_group, [Group]},
      restart => element(3, Group), shutdown => infinity, significant => element(4, Group),
      type => supervisor}.

init({group, _, _, _, MaxRestarts, Strategy, AutoShutdown, Children}) ->
    Flags = #{strategy => Strategy, intensity => MaxRestarts, period => ?PERIOD,
              auto_shutdown => AutoShutdown},
    {ok, {Flags, [spec(Child) || Child <- Children]}};
init({dynamic, _, _, _, MaxRestarts, ChildRestart}) ->
    Flags = #{strategy => simple_one_for_one, intensity => MaxRestarts, period => ?PERIOD},
    Template = #{id => template, start => {?MODULE, start_worker, []}, restart => ChildRestart},
    {ok, {Flags, [Template]}};
init({worker, Id, Raises}) ->
    process_flag(trap_exit, true),
    event("start", Id),
    case {took({fail, Id}), took({decline, Id})} of
        {true, _} ->
            {stop, does_not_start};
        {false, true} ->
            ignore;
        {false, false} ->
            ets:insert(board, {{id, self()}, Id}),
            {ok, {Id, Raises, stays}}
    end.

handle_call(_, _, State) -> {reply, ok, State}.

handle_cast(crash, _) -> error(boom);
handle_cast({leave, Reason}, {Id, Raises, _}) -> {stop, Reason, {Id, Raises, leaves}}.

handle_info(_, State) -> {noreply, State}.

%% Allowed: only orders from above are written down. OTP runs terminate/2 after an own end too, and so
%% is on_stop run, but after a kill of the supervisor OTP's workers hear of it, and ours do not.
terminate(Reason, {Id, Raises, Stays}) ->
    case {Reason, Stays} of
        {shutdown, stays} -> event("stop", Id);
        _ -> ok
    end,
    Raises andalso error(does_not_stop).

event(What, Id) ->
    Now = ets:update_counter(board, clock, 1),
    ets:insert(board, {{event, Now}, [What, " ", atom_to_list(Id)]}).

%% Whether one of so many next times is to be now.
took(Key) ->
    case ets:lookup(board, Key) of
        [{_, Count}] when Count > 0 -> ets:insert(board, {Key, Count - 1});
        _ -> false
    end.
