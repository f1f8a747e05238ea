package infer

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// same keeps what the first process computed on, and checks that a later one does on the
// same, where that is asked for.
func (w *Worker) same(i Info) error {
	f := w.first
	if f.Provider == "" {
		w.first = i
		return nil
	}
	if !w.cfg.Same || i.Provider == f.Provider && i.Precision == f.Precision && i.Engine == f.Engine && i.GPU == f.GPU {
		return nil
	}
	return fmt.Errorf("load %s: it would compute on %s %s %.12s, and was proved on %s %s %.12s", w.cfg.Model.name(), i.Provider, i.Precision, i.Engine, f.Provider, f.Precision, f.Engine)
}

// loaded is for a process that serves from now on.
func (w *Worker) loaded(i Info) {
	w.built = false
	if !w.builds.Load() { // else that is one which is built beside
		w.setBuilding(Building{})
	}
	if i.Unbuilt {
		w.without = errUnbuilt.Error() // also once it is built: what serves stays what it is
		w.beside()
	}
	if w.cfg.Loaded != nil {
		w.cfg.Loaded(i)
	}
}

// buildBeside builds the engine of the model that the worker serves without, in a
// process of its own and once, until ctx ends. A build that comes to nothing is tried
// again when the model is loaded next.
func (w *Worker) buildBeside(ctx context.Context, model *os.File) {
	cfg := w.cfg
	cfg.Provider, cfg.AtOnce, cfg.Loaded, cfg.Building = TensorRT, false, nil, w.setBuilding
	b := New(cfg)
	b.only = true
	w.builds.Store(true)
	defer w.setBuilding(Building{})
	defer w.builds.Store(false)
	switch _, err := b.life(ctx, &spell{aside: true}, model, make(chan *spell, 1)); {
	case ctx.Err() != nil:
	case errors.Is(err, errBuilt):
		w.cfg.Log.Warn("an engine of TensorRT's was built beside, and is used from the next start on", "model", w.cfg.Model.name())
	default:
		w.cfg.Log.Warn("no engine of TensorRT's could be built beside", "model", w.cfg.Model.name(), "err", err)
	}
}
