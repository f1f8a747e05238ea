package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Errors of a Source about a station's model.
var (
	ErrNoSwap  = errors.New("no model is being swapped in")
	ErrBadSwap = errors.New("the model can't be swapped in")
)

// SwapAsk asks a station to inspect with another model.
type SwapAsk struct {
	Model   string `json:"model" minLength:"1" maxLength:"4096" doc:"an ONNX file or a bundle's folder of this device, absolute, or the name of a model that is shipped" example:"/srv/models/caps"`
	Ungated bool   `json:"ungated,omitempty" doc:"take a model that brings no golden vectors; one that brings them must pass them all the same"`
}

// StationModel is what a station inspects with, and what was asked of it.
type StationModel struct {
	Model      Model  `json:"model" doc:"what looks at the pictures now"`
	Configured string `json:"configured,omitempty" doc:"what the configuration names; another one was swapped in if it isn't source"`
	Source     string `json:"source,omitempty" doc:"where the model comes from, and what the next start begins with, unless swap.text says that it couldn't be kept; absent where it comes with a signed bundle or a recipe"`
	Swap       *Swap  `json:"swap,omitempty" doc:"the swap that is on, or the last one since the agent's start"`
}

// Swap is a model on its way into a running station.
type Swap struct {
	Model    string     `json:"model" doc:"as it was asked for"`
	Name     string     `json:"name,omitempty" doc:"absent before it was read"`
	Version  string     `json:"version,omitempty"`
	Digest   string     `json:"digest,omitempty" doc:"SHA-256 of the model's file, hex; absent before it was read"`
	Phase    SwapPhase  `json:"phase" enum:"waiting,loading,proving,switching,done,refused,cancelled" doc:"waiting: another model of the device is loaded and proved first; loading: its worker gets ready; proving: it runs its golden pictures; switching: it waits for the parts in view; done: it decides alone; refused, cancelled: the former model goes on"`
	Text     string     `json:"text,omitempty" doc:"for people: why it was refused; of one that is done, why the next start won't begin with it"`
	Building *Building  `json:"building,omitempty" doc:"the engine that is built for it now; absent without"`
	Gate     *GoldenRun `json:"gate,omitempty" doc:"how its golden pictures went; absent before, and without them"`
	Asked    time.Time  `json:"asked"`
	TookMS   float64    `json:"took_ms" doc:"since it was asked for, or until its end, ms"`
	After    uint64     `json:"after,omitempty" doc:"the new model's results all have higher numbers; each result names its model"`
}

// GoldenRun is how a model's golden pictures went.
type GoldenRun struct {
	Pictures int  `json:"pictures"`
	Passed   int  `json:"passed"`
	Raw      bool `json:"raw" doc:"whether raw outputs were compared too"`

	Unmeasured string `json:"unmeasured,omitempty" doc:"why that is no proof on this provider; absent where it is"`
}

// SwapPhase is how far a swap is.
type SwapPhase string

// The phases; the last three are ends.
const (
	SwapWaiting   SwapPhase = "waiting"
	SwapLoading   SwapPhase = "loading"
	SwapProving   SwapPhase = "proving"
	SwapSwitching SwapPhase = "switching"
	SwapDone      SwapPhase = "done"
	SwapRefused   SwapPhase = "refused"
	SwapCancelled SwapPhase = "cancelled"
)

// Over tells whether nothing more will come of it.
func (p SwapPhase) Over() bool { return p == SwapDone || p == SwapRefused || p == SwapCancelled }

// addSwaps adds what changes the model of a running station.
func (s *Server) addSwaps(api huma.API) {
	get(api, "get-station-model", "/v1/stations/{station}/model", "The model of a station", s.getStationModel)
	huma.Register(api, huma.Operation{
		OperationID: "put-station-model", Method: http.MethodPut, Path: "/v1/stations/{station}/model", Summary: "Swap another model into a running station",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: 8 << 10,
		Description: "Its worker is started beside the running one and must pass the golden pictures that it brings; then it takes over between two parts and the former " +
			"worker ends. Meanwhile, and if anything fails, the former model goes on. It stays after a new start. How far it is is told by GET. For stations whose model the " +
			"configuration names: one that follows a signed bundle, or has recipes, is changed by those. Only programs on the device itself may ask.",
		Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, s.putModel)
	huma.Register(api, huma.Operation{
		OperationID: "cancel-station-model", Method: http.MethodDelete, Path: "/v1/stations/{station}/model/swap", Summary: "Take back a swap that isn't done",
		Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict},
	}, s.cancelSwap)
}

type stationModelOutput struct{ Body StationModel }

func (s *Server) getStationModel(_ context.Context, in *stationInput) (*stationModelOutput, error) {
	m, err := s.source.Model(in.Station)
	if err != nil {
		return nil, s.swapError(in.Station, err)
	}
	return &stationModelOutput{m}, nil
}

var errElsewhere = huma.Error403Forbidden("only programs on the device itself may swap models")

type putModelInput struct {
	Station string `path:"station" maxLength:"64" doc:"name of the station"`
	Body    SwapAsk
	local   bool
}

// Resolve notes where the request comes from.
func (in *putModelInput) Resolve(ctx huma.Context) []error {
	in.local = local(ctx)
	return nil
}

type cancelSwapInput struct {
	Station string `path:"station" maxLength:"64" doc:"name of the station"`
	local   bool
}

// Resolve notes where the request comes from.
func (in *cancelSwapInput) Resolve(ctx huma.Context) []error {
	in.local = local(ctx)
	return nil
}

func (s *Server) putModel(_ context.Context, in *putModelInput) (*stationModelOutput, error) {
	if !in.local {
		return nil, errElsewhere
	}
	m, err := s.source.SwapModel(in.Station, in.Body)
	if err != nil {
		return nil, s.swapError(in.Station, err)
	}
	return &stationModelOutput{m}, nil
}

func (s *Server) cancelSwap(_ context.Context, in *cancelSwapInput) (*struct{}, error) {
	if !in.local {
		return nil, errElsewhere
	}
	if err := s.source.CancelSwap(in.Station); err != nil {
		return nil, s.swapError(in.Station, err)
	}
	return nil, nil
}

func (s *Server) swapError(station string, err error) error {
	if errors.Is(err, ErrBadSwap) {
		return huma.Error422UnprocessableEntity(err.Error())
	}
	return s.lineError(station, err)
}
