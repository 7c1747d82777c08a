%% The Erlang side: prints the release, then the nanoseconds of each operation.
-module(erlang_peer).
-export([round_trip/1, spawn/1, together/1]).

round_trip([Count]) ->
    Echo = erlang:spawn(fun echo/0),
    Message = #{performative => request, payload => binary:copy(<<"x">>, 64)},
    run(fun() -> ask(Echo, Message, list_to_integer(Count), []) end).

%% A process is ready for messages when spawn gives its name; all stay alive until the end.
spawn([Count]) ->
    run(fun() -> make(list_to_integer(Count), []) end).

%% So many times a thousand at once, which end before the next.
together([Count]) ->
    run(fun() -> batches(list_to_integer(Count), []) end).

ask(_, _, 0, Times) -> Times;
ask(Echo, Message, Left, Times) ->
    Began = erlang:monotonic_time(),
    Echo ! {self(), Message},
    receive {Echo, _} -> ok end,
    ask(Echo, Message, Left - 1, [erlang:monotonic_time() - Began | Times]).

echo() ->
    receive {From, Message} -> From ! {self(), Message} end,
    echo().

make(0, Times) -> Times;
make(Left, Times) ->
    Began = erlang:monotonic_time(),
    _ = erlang:spawn(fun echo/0),
    make(Left - 1, [erlang:monotonic_time() - Began | Times]).

batches(0, Times) -> Times;
batches(Left, Times) ->
    Began = erlang:monotonic_time(),
    Echoes = [erlang:spawn(fun echo/0) || _ <- lists:seq(1, 1000)],
    Time = (erlang:monotonic_time() - Began) div 1000,
    [exit(Echo, kill) || Echo <- Echoes],
    wait_for_end(Echoes),
    batches(Left - 1, [Time | Times]).

wait_for_end(Echoes) ->
    [receive {'DOWN', Reference, process, _, _} -> ok end
     || Reference <- [erlang:monitor(process, Echo) || Echo <- Echoes]].

run(Work) ->
    Times = lists:reverse(Work()),
    io:format("~s~n", [erlang:system_info(otp_release)]),
    [io:format("~b~n", [erlang:convert_time_unit(Time, native, nanosecond)]) || Time <- Times],
    init:stop().
