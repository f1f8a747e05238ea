package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// newSceneCommand groups what can be done with the drawn parts.
func newSceneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scene",
		Short: "Draw parts on a belt, with the truth about each of them",
		Long: `Draw machined parts on a moving belt, some of them with defects, with the truth
about each part. The same seed gives the same pictures on every machine.`,
		Example: `  # 300 pictures with COCO annotations, to train or to evaluate a model
  sightline scene write --out parts --frames 300 --seed 7 --every 15

  # an IP camera that looks at the belt
  sightline scene serve --mjpeg 127.0.0.1:8090`,
	}
	cmd.AddCommand(newSceneWriteCommand(), newSceneServeCommand())
	return cmd
}

// sceneSize reads the flag --size, width x height in pixels.
func sceneSize(text string) (width, height int, err error) {
	var rest string
	n, _ := fmt.Sscanf(text+" .", "%dx%d %s", &width, &height, &rest)
	if n != 3 || rest != "." || width < 1 || height < 1 {
		return 0, 0, cli.Usage("--size %q: must be width x height, like 768x432", text)
	}
	return width, height, nil
}

// sceneDefects turns the flag --defect-rate into scene.Config's, where 0
// stands for the default.
func sceneDefects(rate float64) (float64, error) {
	switch {
	case !(rate >= 0 && rate <= 1):
		return 0, cli.Usage("--defect-rate %v: must be 0 to 1", rate)
	case rate == 0:
		return -1, nil
	}
	return rate, nil
}
