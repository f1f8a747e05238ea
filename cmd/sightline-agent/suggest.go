package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// suggestOptions are golden's flags for choosing pictures.
type suggestOptions struct {
	suggest bool
	take    bool
	count   int // pictures that are wanted
	mutants int
}

func (o suggestOptions) check(cmd *cobra.Command) error {
	for _, name := range []string{"count", "mutants"} {
		if !o.suggest && cmd.Flags().Changed(name) {
			return cli.Usage("--%s is for --suggest", name)
		}
	}
	switch {
	case !o.suggest && o.take:
		return cli.Usage("--take is for --suggest")
	case o.count < 1 || o.count > bundle.MaxVectors:
		return cli.Usage("--count %d: 1 to %d pictures are possible", o.count, bundle.MaxVectors)
	case o.mutants < 1 || o.mutants > 10_000:
		return cli.Usage("--mutants %d: 1 to 10,000 are possible", o.mutants)
	}
	return nil
}

// suggested is what golden --suggest says, as JSON.
type suggested struct {
	Pictures []pick            `json:"pictures"` // in the order in which they were chosen
	Mutants  int               `json:"mutants"`  // that were tried
	Seen     int               `json:"seen"`     // by at least one of the pictures
	Unseen   map[string]int    `json:"unseen"`   // by none of the candidates, by kind
	Missed   map[string]int    `json:"missed"`   // by the chosen pictures, though a candidate sees them
	Unfit    map[string]string `json:"unfit"`    // candidates that can't be golden, and why
}

// pick is a chosen picture.
type pick struct {
	File    string `json:"file"`
	Verdict string `json:"verdict"`
	Adds    int    `json:"adds"` // mutants that those before it don't see
	Sees    int    `json:"sees"`
}

// runSuggest chooses among the candidates and tells which. With --take and --json the
// caller does, with what it records.
func (o *goldenOptions) runSuggest(cmd *cobra.Command, made *assembly, dir string, pictures bundle.Pictures, names []string, as recordOptions) (*suggested, error) {
	as.progress = progress(cmd.ErrOrStderr(), false)
	s, err := made.suggest(cmd.Context(), dir, pictures, names, as, o.suggestOptions, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	switch {
	case !o.json:
		err = s.write(cmd.OutOrStdout(), dir, o.take)
	case !o.take || len(s.Pictures) == 0:
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(s)
	}
	if err == nil && len(s.Pictures) == 0 {
		err = s.none()
	}
	return s, err
}

// files are the chosen pictures.
func (s *suggested) files() (files []string) {
	for _, p := range s.Pictures {
		files = append(files, p.File)
	}
	return files
}

// none says that no candidate may be golden, with the reason of one.
func (s *suggested) none() error {
	for _, file := range slices.Sorted(maps.Keys(s.Unfit)) {
		return fmt.Errorf("none of the %d pictures is fit to be golden, as %s: %s", len(s.Unfit), file, s.Unfit[file])
	}
	return errors.New("there is no picture to choose from")
}

// suggest runs mutants of the bundle on every candidate and chooses those that see
// the most.
func (a *assembly) suggest(ctx context.Context, dir string, pictures bundle.Pictures, names []string, as recordOptions, o suggestOptions, told io.Writer) (s *suggested, err error) {
	g, unfit, err := a.fit(ctx, dir, pictures, names, as)
	if err != nil {
		return nil, err
	}
	s = &suggested{Pictures: []pick{}, Unseen: map[string]int{}, Missed: map[string]int{}, Unfit: map[string]string{}}
	for name, why := range unfit {
		s.Unfit[pictures[name]] = strings.ReplaceAll(why.Error(), "\n", "; ")
	}
	if len(g.Vectors) == 0 {
		return s, nil
	}
	var kinds []mutant.Kind
	var sees [][]bool // by mutant, by candidate
	err = a.mutants(ctx, dir, o.mutants, func(m mutant.Mutation, folder string) error {
		fmt.Fprintf(told, "mutant %d of %d: %v\n", len(kinds)+1, o.mutants, m)
		row, err := a.seers(ctx, folder, pictures, g, as.threads)
		if err != nil {
			return fmt.Errorf("run the mutant %v: %w", m, err)
		}
		kinds, sees = append(kinds, m.Kind), append(sees, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Mutants = len(kinds)
	s.choose(g, pictures, kinds, sees, o.count)
	return s, nil
}

// fit records all candidates that are fit to be golden.
func (a *assembly) fit(ctx context.Context, dir string, pictures fs.FS, names []string, o recordOptions) (g *bundle.Golden, unfit map[string]error, err error) {
	err = a.recording(ctx, dir, o, func(ctx context.Context, m gate.Measuring, s gate.Subject) error {
		g, unfit, err = m.Fit(ctx, s, pictures, names)
		return err
	})
	return g, unfit, err
}

func closeRule(ctx context.Context, s gate.Subject) error {
	if s.Rule == nil {
		return nil
	}
	return s.Rule.Close(context.WithoutCancel(ctx))
}

// suggestKinds are the kinds of mutants that pictures alone can show: changed weights,
// and pictures fed otherwise. Settings are pinned, whatever the pictures.
func suggestKinds() []mutant.Kind {
	return append(mutant.WeightKinds(), mutant.Colour, mutant.InputScale, mutant.Mean, mutant.Std, mutant.Resize, mutant.Interpolation, mutant.Anchor, mutant.Pad)
}

// mutants makes n wrong copies of a bundle's folder, one after the other, of all
// kinds in turn.
func (a *assembly) mutants(ctx context.Context, dir string, n int, each func(m mutant.Mutation, folder string) error) (err error) {
	top, remove, err := scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	for seed, made, last := uint64(1), 0, -1; made < n && made != last; seed++ {
		last = made
		for _, kind := range suggestKinds() {
			if made == n || kind.Forms() > 0 && seed > kind.Forms() {
				continue
			}
			folder := filepath.Join(top, fmt.Sprintf("%s-%d", kind, seed))
			m, err := mutant.Write(os.DirFS(dir), folder, kind, seed)
			if errors.Is(err, mutant.ErrNothing) {
				continue
			}
			if err == nil {
				err = each(m, folder)
			}
			if err = errors.Join(err, os.RemoveAll(folder), ctx.Err()); err != nil {
				return err
			}
			made++
		}
	}
	return nil
}

// seers tells which of the pictures of g show that the bundle in folder is another
// one, on whatever device: raw outputs aren't compared, the widest tolerances hold,
// and settings don't count. They run on the CPU: an accelerator may build an engine
// for each, for minutes.
func (a *assembly) seers(ctx context.Context, folder string, pictures fs.FS, g *bundle.Golden, threads int) (row []bool, err error) {
	row = make([]bool, len(g.Vectors))
	all := func() []bool {
		for i := range row {
			row[i] = true
		}
		return row
	}
	c, err := choose(modelOptions{model: folder})
	if err != nil {
		return all(), nil // no device runs it
	}
	s, err := a.unmanned(ctx, track.Pictures, c)
	if err != nil {
		return all(), nil
	}
	cfg := a.programs.worker(c, c.stationSpec(), threads, a.log)
	cfg.Provider, cfg.Same, cfg.Aside = infer.CPU, true, true
	s.Worker = infer.New(cfg)
	defer func() { err = errors.Join(err, closeRule(ctx, s)) }()
	s.Settings = nil
	anywhere := *g
	anywhere.Recorded.Provider, anywhere.Measured = "any", nil
	var report *gate.Report
	err = withWorker(ctx, s, func(ctx context.Context) error {
		report, err = gate.Run(ctx, s, pictures, &anywhere, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range report.Refusals {
		if r.What == gate.WhatModel {
			return all(), nil
		}
		if i := slices.IndexFunc(g.Vectors, func(v bundle.Vector) bool { return v.Picture == r.Picture }); i >= 0 {
			row[i] = true
		}
	}
	return row, nil
}

// choose covers the mutants greedily, and keeps a good and a bad picture among the
// chosen where there are such.
func (s *suggested) choose(g *bundle.Golden, pictures bundle.Pictures, kinds []mutant.Kind, sees [][]bool, count int) {
	verdicts := make([]string, len(g.Vectors))
	for i, v := range g.Vectors {
		verdicts[i] = v.Verdict
	}
	seen := make([]bool, len(kinds))
	for _, c := range cover(sees, verdicts, count) {
		p := pick{File: pictures[g.Vectors[c].Picture], Verdict: verdicts[c]}
		for m := range kinds {
			if sees[m][c] {
				p.Sees++
				if !seen[m] {
					p.Adds++
				}
				seen[m] = true
			}
		}
		s.Seen += p.Adds
		s.Pictures = append(s.Pictures, p)
	}
	for m, kind := range kinds {
		switch {
		case seen[m]:
		case slices.Contains(sees[m], true):
			s.Missed[string(kind)]++
		default:
			s.Unseen[string(kind)]++
		}
	}
}

func (s *suggested) write(w io.Writer, dir string, take bool) error {
	var b strings.Builder
	for _, file := range slices.Sorted(maps.Keys(s.Unfit)) {
		fmt.Fprintf(&b, "unfit: %s: %s\n", file, s.Unfit[file])
	}
	files := ""
	for n, p := range s.Pictures {
		fmt.Fprintf(&b, "%3d  %-50s %-4s sees %d mutants, %d that those above don't\n", n+1, p.File, p.Verdict, p.Sees, p.Adds)
		files += " " + quoted(p.File)
	}
	fmt.Fprintf(&b, "%d pictures see %d of %d mutants\n", len(s.Pictures), s.Seen, s.Mutants)
	for _, part := range []struct {
		what  string
		kinds map[string]int
	}{{"missed by these, though a candidate sees them", s.Missed}, {"seen by no candidate", s.Unseen}} {
		var all []string
		for _, kind := range slices.Sorted(maps.Keys(part.kinds)) {
			all = append(all, fmt.Sprintf("%d %s", part.kinds[kind], kind))
		}
		if len(all) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", part.what, strings.Join(all, ", "))
		}
	}
	if !take && len(s.Pictures) > 0 {
		fmt.Fprintf(&b, "take them with --take, or: sightline-agent golden %s --pictures%s\n", quoted(dir), files)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoted is a file's name as a shell takes it.
func quoted(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./_-:", r))
	}) {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}
