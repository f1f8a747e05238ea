package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/track"
)

// loadBundle reads a bundle's folder, or a shipped model by its name, as a
// station runs it; golden is nil where it has no golden vectors.
func loadBundle(dir string) (c *choice, golden *bundle.Golden, err error) {
	if c, err = choose(modelOptions{model: dir}); err != nil {
		return nil, nil, err
	}
	fsys, err := openBundle(dir)
	if err != nil || fsys == nil {
		return c, nil, err
	}
	golden, err = bundle.ReadGolden(fsys)
	if errors.Is(err, fs.ErrNotExist) {
		golden, err = nil, nil
	}
	return c, golden, err
}

// subject is a bundle in a worker of its own, as a station that sees pictures
// in that mode would run it; the caller runs the worker. Where TensorRT has no engine
// for it yet, that is built first.
func (a *assembly) subject(ctx context.Context, mode track.Mode, c *choice, threads int) (gate.Subject, error) {
	return a.subjectFor(ctx, mode, c, threads, false)
}

// subjectFor is subject; atOnce is for those whom a station waits for.
func (a *assembly) subjectFor(ctx context.Context, mode track.Mode, c *choice, threads int, atOnce bool) (gate.Subject, error) {
	s, err := a.unmanned(ctx, mode, c)
	if err == nil {
		s.Worker = a.provedWorker(c, threads, 0, atOnce)
	}
	return s, err
}

// unmanned is a subject that has no worker yet.
func (a *assembly) unmanned(ctx context.Context, mode track.Mode, c *choice) (gate.Subject, error) {
	rule, err := a.fits(ctx, mode, c)
	if err != nil {
		return gate.Subject{}, err
	}
	return gate.Subject{
		Rule: rule, Lowest: c.asPublished().Confidence, Agent: version, Settings: c.settings,
		Track: track.Config{Start: startScore, Keep: keepScore, Roles: c.roles()},
	}, nil
}

// withWorker runs f while the subject's worker runs.
func withWorker(ctx context.Context, s gate.Subject, f func(context.Context) error) error {
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Worker.Run(running) }()
	err := f(ctx)
	stop()
	<-done // f has heard of the worker's error, if it has one
	return err
}

// unpacked gives the folder of a bundle: the one that is named, or a scratch
// copy of an archive that remove deletes.
func unpacked(path string) (dir string, remove func() error, err error) {
	remove = func() error { return nil }
	st, err := os.Stat(path)
	if err != nil || st.IsDir() { // what isn't there may be a shipped model
		return path, remove, nil
	}
	f, err := bundle.OpenFile(path)
	if err != nil {
		return "", remove, err
	}
	defer f.Close()
	top, remove, err := scratch()
	if err != nil {
		return "", remove, err
	}
	dir = top + "/bundle"
	if _, err := bundle.Unpack(f, dir, bundle.Limits{}); err != nil {
		return "", func() error { return nil }, errors.Join(fmt.Errorf("%s: %w", path, err), remove())
	}
	return dir, remove, nil
}
