package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// sceneWriter writes pictures of a scene and what is to be seen in them.
type sceneWriter struct {
	cfg       scene.Config
	out       string
	size      string
	format    string // jpg or png
	quality   int    // of JPEG, 1 to 100
	frames    int
	first     int
	every     int
	negatives bool
}

func newSceneWriteCommand() *cobra.Command {
	var w sceneWriter
	cmd := &cobra.Command{
		Use:   "write --out DIR",
		Short: "Write pictures with COCO annotations and the truth per part",
		Long: `Write drawn pictures into a folder, with
  annotations.json  boxes of parts and defects in COCO's format; categories carry
                    the role that a model's label needs (part or defect), boxes how
                    much of them is in view and whether the defect lies under the
                    visibility floor
  truth.json        every part that shows: when it comes and goes, what is wrong with it`,
		Example: `  # every 15th frame, so that each picture shows something new
  sightline scene write --out train --frames 300 --seed 7 --every 15

  # many defects, in a smaller picture
  sightline scene write --out more --frames 300 --seed 8 --every 15 --defect-rate 0.6 --size 640x360

  # good parts only
  sightline scene write --out good --frames 100 --seed 9 --every 15 --negatives`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := w.check(); err != nil {
				return err
			}
			n, err := w.write(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d pictures of %d parts in %s\n", w.frames, n, w.out)
			return nil
		},
	}
	w.flags(cmd)
	return cmd
}

func (w *sceneWriter) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.out, "out", "", "folder to write into; made if it is not there")
	f.IntVar(&w.frames, "frames", 100, "number of pictures")
	f.Uint64Var(&w.cfg.Seed, "seed", 1, "which world to draw")
	f.StringVar(&w.size, "size", "768x432", "width x height in pixels")
	f.Float64Var(&w.cfg.Rate, "rate", scene.DefaultRate, "frames a second")
	f.Float64Var(&w.cfg.Speed, "speed", 1, "of the belt, against its own")
	f.IntVar(&w.first, "first", 0, "number of the first frame")
	f.IntVar(&w.every, "every", 1, "write every K-th frame")
	f.Float64Var(&w.cfg.DefectRate, "defect-rate", scene.DefaultDefectRate, "share of bad parts, 0 to 1")
	f.BoolVar(&w.negatives, "negatives", false, "good parts only")
	f.BoolVar(&w.cfg.RightToLeft, "right-to-left", false, "the belt runs from right to left")
	f.StringVar(&w.format, "format", "jpg", "jpg or png")
	f.IntVar(&w.quality, "quality", 90, "of JPEG, 1 to 100")
}

// check finds what is wrong with the flags.
func (w *sceneWriter) check() error {
	err := cli.Required("out", w.out, "parts")
	if err != nil {
		return err
	}
	if w.cfg.Width, w.cfg.Height, err = sceneSize(w.size); err != nil {
		return err
	}
	if w.cfg.DefectRate, err = sceneDefects(w.cfg.DefectRate); err != nil {
		return err
	}
	switch {
	case w.frames < 1:
		return cli.Usage("--frames %d: must be at least 1", w.frames)
	case w.every < 1:
		return cli.Usage("--every %d: must be at least 1", w.every)
	case w.first < 0:
		return cli.Usage("--first %d: frames count from 0", w.first)
	case w.format != "jpg" && w.format != "png":
		return cli.Usage("--format %q: must be jpg or png", w.format)
	case w.quality < 1 || w.quality > 100:
		return cli.Usage("--quality %d: must be 1 to 100", w.quality)
	}
	if w.negatives {
		w.cfg.DefectRate = -1
	}
	if _, err := scene.New(w.cfg); err != nil {
		return cli.Usage("%v", err)
	}
	return nil
}

// write draws everything and returns how many parts were seen.
func (w *sceneWriter) write(ctx context.Context) (parts int, err error) {
	s, err := scene.New(w.cfg)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(w.out, 0o755); err != nil {
		return 0, fmt.Errorf("make the folder: %w", err)
	}
	notes := newSceneNotes(s)
	frame := s.NewFrame()
	picture := image.NewRGBA(image.Rect(0, 0, frame.Width, frame.Height))
	for i := range w.frames {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("stopped after %d of %d pictures: %w", i, w.frames, err)
		}
		n := w.first + i*w.every
		if err := s.Frame(n, frame); err != nil {
			return 0, err
		}
		toRGBA(picture, frame)
		name := fmt.Sprintf("frame-%06d.%s", n, w.format)
		if err := w.save(filepath.Join(w.out, name), picture); err != nil {
			return 0, err
		}
		notes.add(name, n)
	}
	if err := writeJSON(filepath.Join(w.out, "annotations.json"), &notes.coco); err != nil {
		return 0, err
	}
	truth := notes.truth()
	return len(truth.Parts), writeJSON(filepath.Join(w.out, "truth.json"), truth)
}

// toRGBA copies a BGR frame into a picture of the same size.
func toRGBA(dst *image.RGBA, f *vision.Frame) {
	for y := range f.Height {
		src, out := f.Pix[y*f.Stride:], dst.Pix[y*dst.Stride:]
		for x := range f.Width {
			out[x*4], out[x*4+1], out[x*4+2], out[x*4+3] = src[x*3+2], src[x*3+1], src[x*3], 255
		}
	}
}

func (w *sceneWriter) save(path string, picture image.Image) error {
	return writeFile(path, func(b *bufio.Writer) error {
		if w.format == "png" {
			return png.Encode(b, picture)
		}
		return jpeg.Encode(b, picture, &jpeg.Options{Quality: w.quality})
	})
}

func writeJSON(path string, v any) error {
	return writeFile(path, func(b *bufio.Writer) error {
		enc := json.NewEncoder(b)
		enc.SetIndent("", " ")
		return enc.Encode(v)
	})
}

func writeFile(path string, fill func(*bufio.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write a picture's file: %w", err)
	}
	b := bufio.NewWriter(f)
	err = fill(b)
	if err == nil {
		err = b.Flush()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
