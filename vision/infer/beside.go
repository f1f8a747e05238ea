package infer

import (
	"context"
	"errors"
	"os"
)

// buildBeside builds the engine of the model that the worker serves without, in a
// process of its own and once, until ctx ends. A build that comes to nothing is tried
// again when the model is loaded next.
func (w *Worker) buildBeside(ctx context.Context, model *os.File) {
	cfg := w.cfg
	cfg.Provider, cfg.AtOnce, cfg.Loaded, cfg.Building = TensorRT, false, nil, w.setBuilding
	b := New(cfg)
	b.only = true
	defer w.setBuilding(Building{})
	digest := ""
	switch _, err := b.life(ctx, model, &digest); {
	case ctx.Err() != nil:
	case errors.Is(err, errBuilt):
		w.cfg.Log.Warn("an engine of TensorRT's was built beside, and is used from the next start on", "model", w.cfg.Model.name())
	default:
		w.cfg.Log.Warn("no engine of TensorRT's could be built beside", "model", w.cfg.Model.name(), "err", err)
	}
}
