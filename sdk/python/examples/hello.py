from caxton_agent import Agent, Context, Message, Reply, serve


class Hello(Agent):
    capabilities = ("greeting",)

    def handle(self, message: Message, ctx: Context) -> Reply:
        return message.inform(f"hello, {message.content}")


Guest = serve(Hello)
