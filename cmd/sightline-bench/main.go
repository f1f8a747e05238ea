// Command sightline-bench measures what we promise against the bare thing in
// the same run, prints a table and writes bench.json. make bench runs it; it
// is no part of what we ship.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], figures(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// roles are what the bench is as a process that a figure starts, by its first
// argument.
var roles = map[string]func(ctx context.Context, args []string, stdout io.Writer) error{
	weighRole: weigh, loopRole: loop, framesRole: frames, bytesRole: sendBytes,
	filmRole: serveFilm, echoRole: echo, answerRole: answers,
}

// run gives the exit code: 0 done, 1 a figure failed, 2 wrong use. A goal that
// is missed is shown, not an error: another machine may keep it.
func run(ctx context.Context, args []string, all []Figure, stdout, stderr io.Writer) int {
	if len(args) > 0 && roles[args[0]] != nil {
		if err := roles[args[0]](ctx, args[1:], stdout); err != nil {
			fmt.Fprintln(stderr, "sightline-bench:", err)
			return 1
		}
		return 0
	}
	flags := flag.NewFlagSet("sightline-bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "bench.json", "file of the rows; the rows of other figures in it stay")
	only := flags.String("only", "", "figures to run, as P1,P13; all if empty")
	python := flags.String("python", "", "interpreter that has the pinned opencv-python")
	rounds := flags.Int("rounds", 5, "how often both sides take turns, at least 5")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	chosen, err := choose(all, *only)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err == nil && *rounds < 5 {
		err = fmt.Errorf("--rounds: must be at least 5, got %d", *rounds)
	}
	if err != nil {
		fmt.Fprintln(stderr, "sightline-bench:", err)
		return 2
	}
	env, err := find(*python, *rounds, stderr)
	if err == nil {
		err = bench(ctx, *out, chosen, all, env, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "sightline-bench:", err)
		return 1
	}
	return 0
}

// find looks up what the figures use; what is absent stays empty.
func find(python string, rounds int, log io.Writer) (*Env, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the tree: %w", err)
	}
	env := &Env{
		Root: root, Bin: os.Getenv("SIGHTLINE_BIN"), Data: os.Getenv("SIGHTLINE_REALDATA"),
		ORT: os.Getenv("SIGHTLINE_ONNXRUNTIME"), Rounds: rounds, Log: log,
	}
	if env.Bin == "" {
		env.Bin = filepath.Join(root, "bin")
	}
	if env.ORT == "" {
		env.ORT = filepath.Join(env.Bin, "libonnxruntime.so.1")
	}
	if python != "" {
		if _, err := os.Stat(python); err == nil {
			env.Python, err = filepath.Abs(python)
			if err != nil {
				return nil, fmt.Errorf("find %s: %w", python, err)
			}
		}
	}
	return env, nil
}

// bench keeps the rows that were measured even where another figure failed.
func bench(ctx context.Context, out string, chosen, all []Figure, env *Env, stdout io.Writer) error {
	var old []Row
	if len(chosen) < len(all) {
		var err error
		if old, err = load(out); err != nil {
			return err
		}
	}
	fresh, failed := measure(ctx, chosen, env)
	if ctx.Err() != nil {
		return failed // cut short: the earlier rows stay as they are
	}
	rows := merge(old, fresh, chosen, all)
	if err := save(out, rows); err != nil {
		return err
	}
	if err := table(stdout, rows); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return failed
}
