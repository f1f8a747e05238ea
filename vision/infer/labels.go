package infer

import (
	"bufio"
	"fmt"
	"os"
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

// ReadLabels gives COCO's names for "coco", else the lines of a file: one name
// a line in the model's order, blank lines at the end left out.
func ReadLabels(nameOrPath string) ([]string, error) {
	if nameOrPath == "coco" {
		return COCO(), nil
	}
	f, err := os.Open(nameOrPath)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w (pass a file with one name a line, or coco)", err)
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
