// Package cli is what Sightline's commands have in common: exit codes, error
// texts, and the signals that end a command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	Done     = 0
	Failed   = 1
	WrongUse = 2
)

// usageError is a mistake in how a command was called.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// Usage marks an error as wrong use: exit code 2, with a pointer to --help.
func Usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// ErrTold ends a command with code 1 when it has already said why.
var ErrTold = errors.New("told already")

// ErrToldUsage ends a command with code 2 when what it ran has already said what was
// wrong in its use.
var ErrToldUsage = errors.New("wrong use, told already")

// Run executes the command line and returns the exit code. The context ends at
// SIGINT or SIGTERM; a second signal ends the process at once.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the default action is back for the second signal
	strict(root)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return Done
	case errors.Is(err, ErrTold):
		return Failed
	case errors.Is(err, ErrToldUsage):
		return WrongUse
	}
	var usage usageError
	wrong := errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command")
	fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	if !wrong {
		return Failed
	}
	fmt.Fprintf(stderr, "see '%s --help'\n", cmd.CommandPath())
	return WrongUse
}

// strict makes the commands that only hold others refuse what is none of those:
// cobra takes it for an argument, prints the help and is content.
func strict(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
	if !cmd.HasParent() || !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return Usage("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return cmd.Help()
	}
}

// NoArgs refuses arguments that aren't flags.
func NoArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usage("takes no arguments, got %q", args[0])
	}
	return nil
}

// Required refuses a flag that was left empty, with an example of its use.
func Required(name, value, example string) error {
	if value == "" {
		return Usage("--%s is missing, as in: --%s %s", name, name, example)
	}
	return nil
}
