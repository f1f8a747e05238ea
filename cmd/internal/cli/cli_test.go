package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// command is a program with one command that does what f says.
func command(f func(ctx context.Context) error) *cobra.Command {
	root := &cobra.Command{Use: "program"}
	sub := &cobra.Command{Use: "work", Args: NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return f(cmd.Context()) }}
	sub.Flags().Int("count", 0, "how often")
	group := &cobra.Command{Use: "group"}
	group.AddCommand(&cobra.Command{Use: "one", Args: NoArgs, RunE: sub.RunE})
	root.AddCommand(sub, group)
	return root
}

func TestExitCodesAndTexts(t *testing.T) {
	for name, c := range map[string]struct {
		args string
		err  error
		code int
		text string // all of stderr
	}{
		"done":               {"work", nil, Done, ""},
		"failed":             {"work", errors.New("read x: no such file"), Failed, "program work: read x: no such file\n"},
		"told already":       {"work", fmt.Errorf("more: %w", ErrTold), Failed, ""},
		"usage told already": {"work", fmt.Errorf("more: %w", ErrToldUsage), WrongUse, ""},
		"usage":              {"work", Usage("--count %d: too many", 7), WrongUse, "program work: --count 7: too many\nsee 'program work --help'\n"},
		"wrapped usage":      {"work", fmt.Errorf("in the middle: %w", Usage("bad")), WrongUse, "program work: in the middle: bad\nsee 'program work --help'\n"},
		"required":           {"work", Required("model", "", "m.onnx"), WrongUse, "program work: --model is missing, as in: --model m.onnx\nsee 'program work --help'\n"},
		"given":              {"work", Required("model", "x", "m.onnx"), Done, ""},
		"unknown flag":       {"work --colour", nil, WrongUse, "program work: unknown flag: --colour\nsee 'program work --help'\n"},
		"bad flag":           {"work --count many", nil, WrongUse, "invalid argument \"many\""},
		"unknown command":    {"play", nil, WrongUse, "program: unknown command \"play\" for \"program\"\nsee 'program --help'\n"},
		"unknown in a group": {"group two", nil, WrongUse, "program group: unknown command \"two\" for \"program group\"\nsee 'program group --help'\n"},
		"known in a group":   {"group one", nil, Done, ""},
		"an argument":        {"work hard", nil, WrongUse, "program work: takes no arguments, got \"hard\"\nsee 'program work --help'\n"},
		"unknown inside":     {"work", errors.New("read unknown command"), Failed, "program work: read unknown command\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := Run(t.Context(), command(func(context.Context) error { return c.err }), strings.Fields(c.args), &out, &errs)
			if code != c.code || out.Len() > 0 {
				t.Errorf("exit code %d, want %d; stdout %q", code, c.code, out.String())
			}
			if got := errs.String(); got != c.text && (c.text == "" || name != "bad flag" || !strings.Contains(got, c.text)) {
				t.Errorf("stderr is %q, want %q", got, c.text)
			}
		})
	}
}

// TestSignalsEndTheContext: the command is asked to end, and its own answer
// makes the exit code.
func TestSignalsEndTheContext(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), command(func(ctx context.Context) error {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(10 * time.Second):
				return errors.New("the signal wasn't heard")
			}
		}), []string{"work"}, &out, &errs)
		if code != Done {
			t.Errorf("%v: exit code %d: %s", sig, code, errs.String())
		}
	}
}
