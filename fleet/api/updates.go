package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/fleet/depot"
)

const octets = "application/octet-stream"

// addUpdates adds what bundles and their metadata are sent and fetched by.
func (s *Server) addUpdates(api huma.API) {
	operation(api, "GET", "list-bundles", "/v1/bundles", "The bundles that the fleet holds", s.listBundles)
	operation(api, "GET", "get-update-keys", "/v1/updates/keys", "The public keys with which the fleet signs snapshot and timestamp; a root must name them", s.updateKeys)

	file := func(method, id, path, summary, kind string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary,
			Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{kind: {}}}},
			Errors:    []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable},
		}
	}
	huma.Register(api, secured(file("GET", "get-update-metadata", "/v1/updates/metadata/{file}",
		"A file of the updates' metadata (TUF), as timestamp.json or 2.root.json", "application/json")), s.getMetadata)
	huma.Register(api, secured(file("GET", "get-bundle", "/v1/updates/targets/{sha256}", "A bundle's archive; Range is understood", octets)), s.getTarget)
	huma.Register(api, secured(file("GET", "get-bundle-pieces", "/v1/updates/pieces/{sha256}",
		"The SHA-256 of each piece of 64 KiB of a bundle, one after the other", octets)), s.getPieces)

	put := func(method, id, path, summary, kind string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: -1, // the gate bounds it
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{kind: {}}},
			Errors: []int{
				http.StatusUnauthorized, http.StatusForbidden, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
				http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusInsufficientStorage,
			},
		}
	}
	huma.Register(api, secured(put("PUT", "put-bundle", "/v1/updates/targets/{sha256}",
		"Send a bundle's archive. One that is there already is answered at once", octets)), s.putTarget)
	huma.Register(api, secured(put("POST", "put-update-root", "/v1/updates/root",
		"Send the first root of trust for updates, or the next one", "application/json")), s.putRoot)
	huma.Register(api, secured(put("POST", "put-update-targets", "/v1/updates/metadata/targets",
		"Send signed targets, of which the fleet holds each bundle", "application/json")), s.putTargets)
}

// Bundle is one that the fleet holds.
type Bundle struct {
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Digest    string    `json:"digest" doc:"SHA-256 of the archive, hex"`
	Size      int64     `json:"size" doc:"of the archive, bytes"`
	Target    string    `json:"target" doc:"path in the repository"`
	Pieces    string    `json:"pieces" doc:"SHA-256 of the list of the pieces' SHA-256, hex"`
	Published bool      `json:"published" doc:"named by the signed targets that devices are given now"`
	Licence   string    `json:"licence" doc:"of the weights, as SPDX expression"`
	Family    string    `json:"family" doc:"of the model"`
	Model     string    `json:"model" doc:"SHA-256 of the network's file, hex"`
	Labels    []string  `json:"labels" doc:"of the model, in the order of its classes"`
	Rule      string    `json:"rule,omitempty" doc:"as commands write it"`
	Put       time.Time `json:"put" doc:"when it came to the fleet"`
}

type bundlesOutput struct {
	Body struct {
		Bundles []Bundle `json:"bundles" doc:"by name, the last put first"`
	}
}

func (s *Server) listBundles(ctx context.Context, _ *struct{}) (*bundlesOutput, error) {
	all, err := s.cfg.Depot.List()
	if err != nil {
		return nil, s.depotFault(ctx, "list bundles", err)
	}
	out := &bundlesOutput{}
	out.Body.Bundles = make([]Bundle, 0, len(all))
	for i := range all {
		out.Body.Bundles = append(out.Body.Bundles, newBundle(&all[i]))
	}
	return out, nil
}

func newBundle(b *depot.Bundle) Bundle {
	return Bundle{
		b.Name, b.Version, b.Digest, b.Size, b.Target, b.Pieces, b.Published, b.Licence, b.Family, b.Model, b.Labels, b.Rule, b.Put,
	}
}

type keysInput struct {
	Next bool `query:"next" doc:"make keys to change to, unless there are such: they come into use with the first root that names them"`
}

type keysOutput struct{ Body updateKeys }

// updateKeys are the depot's, as they stand in a root.
type updateKeys struct {
	Snapshot  updateKey `json:"snapshot" doc:"for the role snapshot"`
	Timestamp updateKey `json:"timestamp" doc:"for the role timestamp"`
}

type updateKey struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public" doc:"hex"`
	} `json:"keyval"`
}

func newUpdateKey(k *depot.PublicKey) updateKey {
	out := updateKey{Type: k.Type, Scheme: k.Scheme}
	out.Value.Public = k.Value.PublicKey
	return out
}

func (s *Server) updateKeys(ctx context.Context, in *keysInput) (*keysOutput, error) {
	keys := s.cfg.Depot.Keys()
	if in.Next {
		var err error
		if keys, err = s.cfg.Depot.NextKeys(); err != nil {
			return nil, s.depotFault(ctx, "make keys of updates", err)
		}
	}
	return &keysOutput{updateKeys{newUpdateKey(keys.Snapshot), newUpdateKey(keys.Timestamp)}}, nil
}

type metadataInput struct {
	File string `path:"file" maxLength:"80" doc:"name of the file"`
}

func (s *Server) getMetadata(ctx context.Context, in *metadataInput) (*huma.StreamResponse, error) {
	text, err := s.cfg.Depot.Metadata(in.File)
	if err != nil {
		return nil, s.depotFault(ctx, "read metadata of updates", err)
	}
	return answerBytes(text, "application/json"), nil
}

type targetInput struct {
	Digest string `path:"sha256" minLength:"64" maxLength:"64" pattern:"^[0-9a-f]+$" doc:"SHA-256 of the archive, hex"`
}

func (s *Server) getPieces(ctx context.Context, in *targetInput) (*huma.StreamResponse, error) {
	list, err := s.cfg.Depot.Pieces(in.Digest)
	if err != nil {
		return nil, s.depotFault(ctx, "read the pieces of a bundle", err)
	}
	return answerBytes(list, octets), nil
}

func (s *Server) getTarget(ctx context.Context, in *targetInput) (*huma.StreamResponse, error) {
	f, err := s.cfg.Depot.Target(in.Digest)
	if err != nil {
		return nil, s.depotFault(ctx, "read a bundle", err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer f.Close()
		serveFile(hc, f, in.Digest)
	}}, nil
}

// serveFile answers with a bundle, or a range of it. It never changes under its
// name.
func serveFile(hc huma.Context, f *os.File, digest string) {
	r, w := humago.Unwrap(hc)
	w.Header().Set("Content-Type", octets)
	w.Header().Set("ETag", `"`+digest+`"`)
	http.ServeContent(newPatientWriter(w), r, "", time.Time{}, f)
}

type bundleOutput struct{ Body Bundle }

// putTargetInput has its own Digest: huma sets none of an embedded struct whose
// name isn't exported.
type putTargetInput struct {
	Digest string `path:"sha256" minLength:"64" maxLength:"64" pattern:"^[0-9a-f]+$" doc:"SHA-256 of the archive, hex"`
	upload
}

func (s *Server) putTarget(ctx context.Context, in *putTargetInput) (*bundleOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	b, err := s.cfg.Depot.PutBundle(ctx, in.Digest, in.length, in.reader())
	if err != nil {
		return nil, s.depotFault(ctx, "keep a bundle", err)
	}
	s.log.Info("bundle kept", "bundle", b.Name, "version", b.Version, "sha256", b.Digest, "user", who(ctx).User)
	return &bundleOutput{newBundle(b)}, nil
}

type updatesOutput struct {
	Body struct {
		Root        int64      `json:"root" doc:"version"`
		Fingerprint string     `json:"fingerprint" doc:"of the root: SHA-256 of its signed part, hex"`
		RootEnds    time.Time  `json:"root_ends"`
		Targets     int64      `json:"targets,omitempty" doc:"version; absent while nothing is published"`
		TargetsEnds *time.Time `json:"targets_ends,omitempty"`
		Stale       string     `json:"stale,omitempty" doc:"why devices don't believe the targets that there are, as after a change of their key"`
	}
}

type putMetadataInput struct{ upload }

func (s *Server) putRoot(ctx context.Context, in *putMetadataInput) (*updatesOutput, error) {
	return s.putMetadata(ctx, in, "take a root", s.cfg.Depot.PutRoot)
}

func (s *Server) putTargets(ctx context.Context, in *putMetadataInput) (*updatesOutput, error) {
	return s.putMetadata(ctx, in, "take targets", s.cfg.Depot.PutTargets)
}

func (s *Server) putMetadata(ctx context.Context, in *putMetadataInput, what string, put func([]byte) error) (*updatesOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	text, err := in.all()
	if err == nil {
		err = put(text)
	}
	if err != nil {
		return nil, s.depotFault(ctx, what, err)
	}
	st := s.cfg.Depot.State()
	s.log.Info("metadata of updates sent", "root", st.Root, "targets", st.Targets, "user", who(ctx).User)
	out := &updatesOutput{}
	b := &out.Body
	b.Root, b.Fingerprint, b.RootEnds, b.Targets = st.Root, st.Fingerprint, st.RootEnds, st.Targets
	if !st.TargetsEnds.IsZero() {
		b.TargetsEnds = &st.TargetsEnds
	}
	if st.Stale != nil {
		b.Stale = st.Stale.Error()
	}
	return out, nil
}

// depotFault is the problem that tells what the depot says.
func (s *Server) depotFault(ctx context.Context, what string, err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, depot.ErrMissing):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, depot.ErrRefused):
		s.log.Warn("refused: "+what, "err", err)
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, depot.ErrBusy):
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(err.Error()), http.Header{"Retry-After": {"5"}})
	case errors.Is(err, depot.ErrFull):
		s.log.Error(what, "err", err)
		return huma.NewError(http.StatusInsufficientStorage, strings.TrimSpace(err.Error()))
	case errors.As(err, &large):
		return huma.NewError(http.StatusRequestEntityTooLarge, fmt.Sprintf("%s: more than %d bytes", what, large.Limit))
	case errors.Is(err, errBody):
		return huma.Error400BadRequest(err.Error())
	}
	if ctx.Err() == nil {
		s.log.Error(what, "err", err)
	}
	return huma.Error503ServiceUnavailable(what + ": it can't be done now, the fleet's log says why")
}
