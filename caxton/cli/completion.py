"""`caxton completion SHELL`: the script that teaches a shell our commands, options and agents' names."""

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  caxton completion bash > ~/.local/share/bash-completion/completions/caxton
    zsh:   caxton completion zsh > "${fpath[1]}/_caxton"
    fish:  caxton completion fish > ~/.config/fish/completions/caxton.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "the choice holds only shells that click knows"
    click.echo(kind(ctx.find_root().command, {}, "caxton", "_CAXTON_COMPLETE").source())
