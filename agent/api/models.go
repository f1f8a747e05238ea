package api

import (
	"context"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// ModelUse is a model that the device runs or has run of late, and how it does. Several
// processes of the same model, with other settings, count as one.
type ModelUse struct {
	Name     string   `json:"name" example:"caps"`
	Version  string   `json:"version,omitempty" example:"1.2.0"`
	Digest   string   `json:"digest" doc:"SHA-256 of the model's file, hex"`
	Family   string   `json:"family,omitempty" doc:"how its output is read" example:"yolox"`
	Stations []string `json:"stations" doc:"which inspect with it now, as their model or their smaller one"`
	Workers  int      `json:"workers" doc:"processes that are kept for it"`
	Ready    bool     `json:"ready" doc:"whether pictures are answered now"`

	Provider  string   `json:"provider,omitempty" doc:"what computes; absent before it was loaded" example:"cpu"`
	Precision string   `json:"precision,omitempty" doc:"in which it computes" example:"float32"`
	Runtime   string   `json:"runtime,omitempty" doc:"version of ONNX Runtime" example:"1.27.0"`
	Passed    []string `json:"providers_passed,omitempty" doc:"providers that were tried first, and why they don't compute"`

	Requests uint64      `json:"requests" doc:"pictures, and runs on tensors of others, that it was given and that have ended, well or not"`
	Failures Failures    `json:"failures" doc:"of them, those without a result"`
	Stages   ModelStages `json:"stages" doc:"how long pictures with a result took"`
	Memory   int64       `json:"memory_bytes" doc:"private memory of its processes, without what an accelerator holds"`
	Cap      int64       `json:"memory_cap_bytes" doc:"what one process may have; beyond it, it is replaced"`
	Leak     *Leak       `json:"leak,omitempty" doc:"memory that its processes take on and don't give back; absent where none shows"`
	Start    float64     `json:"start_ms" doc:"start of its newest process until it had loaded and run the model, ms; 0 before"`
	Restarts uint64      `json:"restarts" doc:"how often a process that ended was started again"`
	Recycles Recycles    `json:"recycles" doc:"how often a process was replaced between two pictures, without a loss"`
	Swaps    uint64      `json:"swaps" doc:"how often a station switched to it"`
	Gates    Gates       `json:"gates" doc:"how its golden pictures went on this device"`
}

// Failures counts pictures without a result, by reason.
type Failures struct {
	Error   uint64 `json:"error" doc:"the model, or its output, was no good for it"`
	Timeout uint64 `json:"timeout" doc:"the run was stopped at the limit"`
	Lost    uint64 `json:"lost" doc:"the process died with it, or was silent and was killed"`
}

// Total is the sum over all reasons.
func (f Failures) Total() uint64 { return f.Error + f.Timeout + f.Lost }

// ModelStages is the way of a picture through the model's process.
type ModelStages struct {
	Wait   Stage `json:"wait" doc:"nobody worked on it: it waited for those before it, or was on its way"`
	Pre    Stage `json:"pre" doc:"picture to tensor"`
	Run    Stage `json:"run" doc:"the model alone"`
	Decode Stage `json:"decode" doc:"output to detections"`
}

// Stage is how long a stage took, since the agent's start.
type Stage struct {
	Count uint64  `json:"count" doc:"pictures"`
	Total float64 `json:"total_ms" doc:"all together, ms"`
	P50   float64 `json:"p50_ms" doc:"half were shorter, ms, to a quarter; 0 without any"`
	P99   float64 `json:"p99_ms" doc:"99 of 100 were shorter, ms, to a quarter; 0 without any"`

	Upto []uint64 `json:"-"` // how many took no longer than each of StageBounds
}

// StageBounds are the upper bounds of the histograms of /metrics, seconds.
var StageBounds = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
}

// Leak is memory that is taken on and not given back.
type Leak struct {
	PerHour int64      `json:"bytes_per_hour" doc:"the median over all pairs of looks"`
	OverMS  float64    `json:"over_ms" doc:"of the time that it was seen over, ms"`
	Runs    uint64     `json:"runs" doc:"of the model meanwhile"`
	Full    *time.Time `json:"meets_cap,omitempty" doc:"when the cap would be met; absent if it is"`
}

// Recycles counts processes that were replaced, by reason.
type Recycles struct {
	Leak uint64 `json:"leak" doc:"it leaked"`
	Cap  uint64 `json:"cap" doc:"it had more memory than it may"`
}

// Gates counts runs of golden pictures before a bundle may serve.
type Gates struct {
	Passed  uint64 `json:"passed"`
	Refused uint64 `json:"refused"`
}

// each gives the stages with their names.
func (m *ModelStages) each(f func(name string, s *Stage)) {
	f("wait", &m.Wait)
	f("pre", &m.Pre)
	f("run", &m.Run)
	f("decode", &m.Decode)
}

func (s *Server) addModels(api huma.API) {
	get(api, "list-models", "/v1/models", "The models, those that serve first", s.listModels)
	get(api, "get-model", "/v1/models/{model}", "One model by its digest or its name", s.getModel)
}

type modelsOutput struct {
	Body struct {
		Models []ModelUse `json:"models"`
	}
}

func (s *Server) listModels(context.Context, *struct{}) (*modelsOutput, error) {
	out := &modelsOutput{}
	out.Body.Models = append([]ModelUse{}, s.source.Now().Models...)
	return out, nil
}

type modelInput struct {
	Model string `path:"model" maxLength:"200" doc:"digest, or at least 8 characters of its beginning, or name; of several of that name the first of the list"`
}

type modelOutput struct{ Body ModelUse }

// shortest is how much of a digest names a model.
const shortest = 8

func (s *Server) getModel(_ context.Context, in *modelInput) (*modelOutput, error) {
	models := s.source.Now().Models
	for _, m := range models {
		if len(in.Model) >= shortest && strings.HasPrefix(m.Digest, in.Model) {
			return &modelOutput{m}, nil
		}
	}
	for _, m := range models {
		if m.Name == in.Model {
			return &modelOutput{m}, nil
		}
	}
	return nil, huma.Error404NotFound("there is no model with that digest or name; /v1/models lists those that there are")
}
