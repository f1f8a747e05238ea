package infer

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
)

// COCO gives the 80 class names of COCO detectors in the usual order.
func COCO() []string {
	return strings.Split(coco, ",")
}

const coco = "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign," +
	"parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie," +
	"suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard," +
	"tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot," +
	"hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard," +
	"cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"

// COCO91 gives the names of COCO's numbers, 0 to 90, as detectors have them that
// keep its numbers (torchvision, RF-DETR): 0 is the background, and those that COCO
// left out are called unused12 and so on.
func COCO91() []string {
	names := append([]string{"background"}, COCO()...)
	for _, n := range [...]int{12, 26, 29, 30, 45, 66, 68, 69, 71, 83} {
		names = slices.Insert(names, n, fmt.Sprintf("unused%d", n))
	}
	return names
}

// ReadLabels gives COCO's names for "coco" and "coco91", else the lines of a file: one name
// a line in the model's order, blank lines at the end left out.
func ReadLabels(nameOrPath string) ([]string, error) {
	if nameOrPath == "coco" {
		return COCO(), nil
	}
	if nameOrPath == "coco91" {
		return COCO91(), nil
	}
	f, err := os.Open(nameOrPath)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w (pass a file with one name a line, coco or coco91)", err)
	}
	defer f.Close()
	var names []string
	in := bufio.NewScanner(f)
	for in.Scan() {
		names = append(names, strings.TrimSpace(in.Text()))
		if len(names) > maxClasses+64 {
			return nil, fmt.Errorf("read labels: %s has more than %d lines: is it a label file?", nameOrPath, maxClasses)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read labels: %s: %w", nameOrPath, err)
	}
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	for n, name := range names {
		if name == "" {
			return nil, fmt.Errorf("read labels: %s:%d: the line is empty, each line is the name of a class", nameOrPath, n+1)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("read labels: %s is empty", nameOrPath)
	}
	return names, nil
}
