package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
)

// Levels of what lint finds.
const (
	levelError   = "error"   // a device would refuse the bundle, or it could never work
	levelWarning = "warning" // it works, and somebody should know
)

// finding is one thing that lint found.
type finding struct {
	Level string `json:"level"`
	Where string `json:"where"` // key of the manifest, or a file
	What  string `json:"what"`
	Do    string `json:"do,omitempty"`
}

func newBundleLint() *cobra.Command {
	var asText bool
	cmd := &cobra.Command{
		Use:   "lint DIR|ARCHIVE",
		Short: "find what is wrong with a bundle, or missing",
		Long: `lint tells all at once what a device would refuse, what could never work, and what
somebody should know, each with what to do. The exit code is 1 if there are
errors; warnings alone give 0.`,
		Example: "  sightline bundle lint caps/\n  sightline bundle lint caps-1.2.0.slb --json | jq -r '.errors[].what'",
		Args:    bundleArg("a bundle's folder or archive", "lint caps/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := open(args[0])
			if err != nil {
				return err
			}
			defer b.close()
			l := lintBundle(cmd.Context(), b.fsys)
			if asText {
				err = asJSON(cmd.OutOrStdout(), l.told())
			} else {
				err = l.write(cmd.OutOrStdout(), args[0])
			}
			if err == nil && l.count(levelError) > 0 {
				return cli.ErrTold
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asText, "json", false, "print one JSON object")
	return cmd
}

// lint is a bundle's folder with what was found so far.
type lint struct {
	fsys     fs.FS
	found    []finding
	files    map[string]int64 // their sizes in bytes
	manifest *bundle.Manifest // nil if it can't be decoded
	info     *infer.Info      // nil if the model can't be read
	named    map[string]bool  // files that something refers to
}

// lintBundle finds all that it can.
func lintBundle(ctx context.Context, fsys fs.FS) *lint {
	l := &lint{fsys: fsys, found: []finding{}, files: map[string]int64{}, named: map[string]bool{bundle.ManifestFile: true, bundle.SumsFile: true}}
	l.checkFiles()
	l.checkManifest()
	if l.manifest != nil {
		l.checkModel()
		l.checkLabels()
		l.checkRule(ctx)
		l.checkPapers()
		l.checkGolden()
	}
	l.checkUnnamed()
	slices.SortStableFunc(l.found, func(a, b finding) int { return strings.Compare(a.Level, b.Level) }) // errors first
	return l
}

func (l *lint) error(where, do, format string, args ...any) {
	l.found = append(l.found, finding{levelError, where, fmt.Sprintf(format, args...), do})
}

func (l *lint) warn(where, do, format string, args ...any) {
	l.found = append(l.found, finding{levelWarning, where, fmt.Sprintf(format, args...), do})
}

func (l *lint) count(level string) int {
	n := 0
	for _, f := range l.found {
		if f.Level == level {
			n++
		}
	}
	return n
}

// bytes of all files.
func (l *lint) bytes() (n int64) {
	for _, size := range l.files {
		n += size
	}
	return n
}

// told is what lint says as JSON.
func (l *lint) told() any {
	answer := struct {
		OK       bool      `json:"ok"`
		Errors   []finding `json:"errors"`
		Warnings []finding `json:"warnings"`
	}{l.count(levelError) == 0, []finding{}, []finding{}}
	for _, f := range l.found {
		if f.Level == levelError {
			answer.Errors = append(answer.Errors, f)
		} else {
			answer.Warnings = append(answer.Warnings, f)
		}
	}
	return answer
}

func (l *lint) write(w io.Writer, name string) error {
	var b strings.Builder
	for _, f := range l.found {
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Level, clean(f.Where), clean(f.What))
		for n, line := range strings.Split(f.Do, "\n") {
			if f.Do != "" {
				fmt.Fprintf(&b, "         %s %s\n", map[bool]string{true: "→", false: " "}[n == 0], clean(line))
			}
		}
	}
	switch wrong, odd := l.count(levelError), l.count(levelWarning); {
	case wrong+odd == 0:
		fmt.Fprintf(&b, "%s: nothing to say against it\n", name)
	default:
		fmt.Fprintf(&b, "%s: %s, %s\n", name, several(wrong, "error"), several(odd, "warning"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func several(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// faults takes apart what an error joins.
func faults(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			return joined.Unwrap()
		}
	}
	return []error{err}
}

// listed joins names for a person, the first twelve of many.
func listed(names []string) string {
	if len(names) > 12 {
		return strings.Join(names[:12], ", ") + fmt.Sprintf(", … (%d in all)", len(names))
	}
	return strings.Join(names, ", ")
}
