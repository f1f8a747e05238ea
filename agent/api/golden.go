package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/internal/web"
)

// ErrNoGolden is what an agent says that records no golden vectors.
var ErrNoGolden = errors.New("this agent records no golden vectors: ask one that runs a configuration")

// Limits of a recording.
const (
	maxArchive = 4 << 30 // bytes
	goldenTime = 30 * time.Minute
)

func (s *Server) addGolden(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "record-golden", Method: http.MethodPost, Path: "/v1/golden",
		Summary: "Record the golden vectors of a bundle", MaxBodyBytes: -1, // maxArchive bounds it
		Description: "Runs a bundle's archive on pictures that it holds, on this device, beside its stations, and gives the golden file. " +
			"Nothing is kept or installed. Only programs on the device itself may ask; from elsewhere, through ssh -L.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}},
		Responses:   map[string]*huma.Response{"200": {Description: "golden/expected.json", Content: map[string]*huma.MediaType{"application/json": {}}}},
		Errors:      []int{http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity},
	}, s.golden)
}

type goldenInput struct {
	Pictures []string `query:"picture,explode" required:"true" minItems:"1" maxItems:"256" doc:"paths of the pictures in the archive, in their order"`
	request  *http.Request
	answer   http.ResponseWriter
	local    bool
}

// Resolve notes where the request comes from, and lets it take its time.
func (in *goldenInput) Resolve(ctx huma.Context) []error {
	in.request, in.answer = humago.Unwrap(ctx)
	in.local = local(ctx)
	return nil
}

func (s *Server) golden(ctx context.Context, in *goldenInput) (*huma.StreamResponse, error) {
	if !in.local {
		return nil, huma.Error403Forbidden("only programs on the device itself may have it run a model: ask through ssh -L")
	}
	end := time.Now().Add(goldenTime)
	web.Allow(in.answer, end)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	golden, err := s.source.Golden(ctx, web.WholeBody(in.answer, in.request, maxArchive).Body, in.Pictures)
	switch {
	case errors.Is(err, ErrNoGolden):
		return nil, huma.Error404NotFound(err.Error())
	case err != nil:
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		_, _ = hc.BodyWriter().Write(golden) // who asked has gone
	}}, nil
}
