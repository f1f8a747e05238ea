package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// addCameras adds what concerns the cameras themselves, whoever looks through them.
func (s *Server) addCameras(api huma.API) {
	get(api, "list-cameras", "/v1/cameras", "The cameras", s.listCameras)
	get(api, "get-camera", "/v1/cameras/{camera}", "One camera", s.getCamera)
	huma.Register(api, stream("camera-picture", "/v1/cameras/{camera}/picture.jpg", "The camera's next picture",
		"image/jpeg", "Waits for the next picture, up to three seconds."), s.cameraPicture)
	huma.Register(api, stream("camera-live", "/v1/cameras/{camera}/live", "The camera's live pictures",
		"multipart/x-mixed-replace", "As those of a station, without marks."), s.cameraLive)
	huma.Register(api, stream("camera-fault", "/v1/cameras/{camera}/faults/{fault}/picture.jpg", "The picture with which a fault was found",
		"image/jpeg", "While the fault holds."), s.cameraFault)
	act := func(id, path, summary, doc string, handler func(context.Context, *cameraInput) (*struct{}, error)) {
		huma.Register(api, huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: path, Summary: summary, Description: doc, DefaultStatus: http.StatusNoContent,
			Errors: []int{http.StatusNotFound, http.StatusConflict},
		}, handler)
	}
	act("trigger-camera", "/v1/cameras/{camera}/trigger", "Make a camera take a picture",
		"For cameras whose trigger is software. The picture then takes the same way as any other.",
		func(_ context.Context, in *cameraInput) (*struct{}, error) {
			return in.answer(s.source.Fire(in.Camera))
		})
	act("set-camera-reference", "/v1/cameras/{camera}/reference", "Make the next picture the camera's reference",
		"Against it the camera is seen to have moved. It is kept over restarts.",
		s.refer)
}

// refer makes the camera's next picture its reference.
func (s *Server) refer(ctx context.Context, in *cameraInput) (*struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, pictureTime)
	defer cancel()
	return in.answer(s.source.SetReference(ctx, in.Camera))
}

// nextInput asks for a camera's next picture.
type nextInput struct {
	Camera string `path:"camera" maxLength:"64" doc:"name of the camera"`
	At     string `query:"at" maxLength:"32" doc:"anything: pages ask anew with it"`
}

type cameraInput struct {
	Camera string `path:"camera" maxLength:"64" doc:"name of the camera"`
}

// answer is what a Source says to an act, as the interface tells it.
func (in *cameraInput) answer(err error) (*struct{}, error) {
	switch {
	case errors.Is(err, ErrNoCamera):
		return nil, in.missing()
	case err != nil:
		return nil, huma.Error409Conflict(err.Error())
	}
	return nil, nil
}

func (in *cameraInput) missing() error {
	return huma.Error404NotFound("there is no camera " + strconv.Quote(in.Camera))
}

type camerasOutput struct {
	Body struct {
		Cameras []Camera `json:"cameras"`
	}
}

func (s *Server) listCameras(context.Context, *struct{}) (*camerasOutput, error) {
	out := &camerasOutput{}
	out.Body.Cameras = s.now().Cameras
	return out, nil
}

type cameraOutput struct{ Body Camera }

func (s *Server) getCamera(_ context.Context, in *cameraInput) (*cameraOutput, error) {
	n := s.now()
	if c := n.camera(in.Camera); c != nil {
		return &cameraOutput{*c}, nil
	}
	return nil, in.missing()
}

func (s *Server) cameraPicture(ctx context.Context, in *nextInput) (*huma.StreamResponse, error) {
	leave, err := enter(&s.viewers, maxViewers, "live pictures")
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, pictureTime)
	defer cancel()
	shot, err := s.source.Look(ctx, in.Camera, 0)
	switch {
	case errors.Is(err, ErrNoCamera):
		return nil, (&cameraInput{in.Camera}).missing()
	case err != nil:
		return nil, huma.Error503ServiceUnavailable("the camera gave no picture in three seconds")
	}
	return jpegBody(shot.JPEG, "no-store"), nil
}

func (s *Server) cameraLive(_ context.Context, in *cameraInput) (*huma.StreamResponse, error) {
	n := s.source.Now()
	if n.camera(in.Camera) == nil {
		return nil, in.missing()
	}
	leave, err := enter(&s.viewers, maxViewers, "live pictures")
	if err != nil {
		return nil, err
	}
	return pictures(leave, func(ctx context.Context, after uint64) (*Shot, error) {
		return s.source.Look(ctx, in.Camera, after)
	}), nil
}

type faultInput struct {
	Camera string `path:"camera" maxLength:"64" doc:"name of the camera"`
	Fault  string `path:"fault" enum:"frozen,dark,overexposed,blurred,moved,flicker" doc:"of picture_faults"`
}

func (s *Server) cameraFault(_ context.Context, in *faultInput) (*huma.StreamResponse, error) {
	b, ok := s.source.Proof(in.Camera, in.Fault)
	if !ok {
		return nil, huma.Error404NotFound("camera " + strconv.Quote(in.Camera) + " has no picture of that fault now")
	}
	return jpegBody(b, "no-store"), nil
}

// proofURL is where the picture of a fault is.
func proofURL(camera, fault string) string {
	return "/v1/cameras/" + url.PathEscape(camera) + "/faults/" + fault + "/picture.jpg"
}
