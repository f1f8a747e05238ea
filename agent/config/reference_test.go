package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

var update = flag.Bool("update", false, "write docs/config.md and docs/config.schema.json anew")

const intro = `<!-- Made from agent/config by go generate. -->
# Configuration of an agent

One YAML file, read by ` + "`sightline-agent run --config F`" + `. ` + "`sightline-agent check --config F`" + ` tells
every mistake at once. What is left out has the default; a setting that doesn't exist is a
mistake. Paths are relative to the file's folder. Editors can check it as it is typed with
[the JSON Schema](config.schema.json): put ` + "`# yaml-language-server: $schema=…/config.schema.json`" + `
into the first line.

`

// example is a whole file; TestExampleIsGood reads it.
const example = `listen: 127.0.0.1:8080
data: /var/lib/sightline
stations:
  - id: station1
    line: A
    camera:
      source: rtsp://192.0.2.10/stream
    model: drawn-parts
    labels: {part: part, scratch: defect}
    rule: threshold:defect>0.5
    deadline: 500ms
`

func TestExampleIsGood(t *testing.T) {
	c, err := Parse("example.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Error(c.Warnings)
	}
}

func TestReferenceIsFresh(t *testing.T) {
	schema, err := json.MarshalIndent(object(reflect.ValueOf(Default()), "Configuration of a Sightline agent"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var md strings.Builder
	md.WriteString(intro + "```yaml\n" + example + "```\n\n| Setting | Kind | Default | Meaning |\n|---|---|---|---|\n")
	rows(&md, "", reflect.ValueOf(Default()))
	for file, want := range map[string]string{
		"../../docs/config.md":          md.String(),
		"../../docs/config.schema.json": string(schema) + "\n",
	} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, string(got)); d != "" {
			t.Errorf("%s is stale: run go generate ./agent/config\n%s", file, d)
		}
	}
}

// rows writes one line for each setting of v, whose values are the defaults.
func rows(b *strings.Builder, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		def := "—"
		if f.Tag.Get("need") == "yes" {
			def = "needed"
		}
		if name == "model" || name == "bundle" {
			def = "one of both is needed"
		}
		if s := fmt.Sprint(v.Field(i).Interface()); !v.Field(i).IsZero() || f.Type.Kind() == reflect.Bool {
			if v.Field(i).Kind() != reflect.Struct {
				def = "`" + s + "`"
			}
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s | %s |\n", prefix, name, kindName(f.Type), def, f.Tag.Get("doc"))
		switch {
		case f.Type == reflect.TypeFor[[]Station]():
			rows(b, prefix+name+"[].", reflect.ValueOf(DefaultStation()))
		case f.Type == reflect.TypeFor[[]Camera]():
			rows(b, prefix+name+"[].", reflect.ValueOf(DefaultCamera()))
		case f.Type == reflect.TypeFor[[]Door]():
			rows(b, prefix+name+"[].", reflect.ValueOf(DefaultDoor()))
		case f.Type == reflect.TypeFor[[]Recipe]():
			rows(b, prefix+name+"[].", reflect.ValueOf(defaultRecipe()))
		case f.Type == reflect.TypeFor[Cascade]() && strings.HasSuffix(prefix, "recipes[]."): // as the station's
		case f.Type == reflect.TypeFor[Camera](): // as in the list
		case f.Type.Kind() == reflect.Struct:
			rows(b, prefix+name+".", v.Field(i))
		}
	}
}

func kindName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "time"
	case t == reflect.TypeFor[map[string]vision.Role]():
		return "label: role"
	case t == reflect.TypeFor[Mode]():
		return "continuous, trigger"
	case t == reflect.TypeFor[Unrecorded]():
		return "reject, allow"
	case t == reflect.TypeFor[UpdatePolicy]():
		return "auto, window, ask, download"
	case t == reflect.TypeFor[Transfer]():
		return "mqtt, http"
	case t == reflect.TypeFor[Shown]():
		return "frame, crop"
	case t == reflect.TypeFor[Otherwise]():
		return "none, small"
	case t == reflect.TypeFor[Effect]():
		return "warn, none, off"
	case t == reflect.TypeFor[Camera]():
		return "name, or settings as cameras[] has them"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "settings"
	case reflect.Slice:
		return "list"
	case reflect.Bool:
		return "true, false"
	case reflect.Int, reflect.Float64:
		return "number"
	}
	return "text"
}

// object is the JSON Schema of a struct, whose values are the defaults.
func object(v reflect.Value, doc string) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		p := property(f, v.Field(i))
		properties[name] = p
		if f.Tag.Get("need") == "yes" {
			required = append(required, name)
		}
	}
	o := map[string]any{"type": "object", "description": doc, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	if v.Type() == reflect.TypeFor[Station]() { // what runs is named in one way or another
		o["anyOf"] = []any{map[string]any{"required": []string{"model"}}, map[string]any{"required": []string{"bundle"}}, map[string]any{"required": []string{"recipes"}}}
	}
	if v.Type() == reflect.TypeFor[Config]() {
		o["$schema"] = "https://json-schema.org/draft/2020-12/schema"
		o["title"] = doc
	}
	return o
}

func property(f reflect.StructField, v reflect.Value) map[string]any {
	p := map[string]any{"description": f.Tag.Get("doc")}
	if !v.IsZero() {
		p["default"] = v.Interface()
	}
	switch {
	case f.Type == reflect.TypeFor[time.Duration]():
		p["type"], p["pattern"] = "string", `^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
		p["default"] = v.Interface().(time.Duration).String()
	case f.Type == reflect.TypeFor[map[string]vision.Role]():
		p["type"], p["additionalProperties"] = "object", map[string]any{"enum": []string{"part", "defect", "ignored"}}
	case f.Type == reflect.TypeFor[Unrecorded]():
		p["enum"] = []Unrecorded{Reject, Allow}
	case f.Type == reflect.TypeFor[UpdatePolicy]():
		p["enum"] = []UpdatePolicy{Auto, InWindow, Ask, Download}
	case f.Type == reflect.TypeFor[Transfer]():
		p["enum"] = []Transfer{MQTT, HTTP}
	case f.Type == reflect.TypeFor[Shown]():
		p["enum"] = []Shown{Frame, Crop}
	case f.Type == reflect.TypeFor[Otherwise]():
		p["enum"] = []Otherwise{AsNone, AsSmall}
	case f.Name == "Doubt":
		p["type"], p["minItems"], p["maxItems"], p["items"] = "array", 2, 2, map[string]any{"type": "number", "minimum": 0, "maximum": 1}
	case f.Type == reflect.TypeFor[Effect]():
		p["enum"] = []Effect{Warns, Rejects, Off}
	case f.Type == reflect.TypeFor[Camera]():
		p["oneOf"] = []any{map[string]any{"type": "string"}, object(v, "One camera.")}
	case f.Type == reflect.TypeFor[[]Camera]():
		p["type"], p["items"] = "array", object(reflect.ValueOf(DefaultCamera()), "One camera.")
	case f.Type == reflect.TypeFor[[]string]():
		p["type"], p["minItems"], p["items"] = "array", 1, map[string]any{"type": "string"}
	case f.Type == reflect.TypeFor[[]int]() && f.Name == "Size":
		p["type"], p["minItems"], p["maxItems"], p["items"] = "array", 2, 2, map[string]any{"type": "integer"}
	case f.Type == reflect.TypeFor[[]int]() && f.Name == "ROI":
		p["type"], p["minItems"], p["maxItems"], p["items"] = "array", 4, 4, map[string]any{"type": "integer"}
	case f.Type == reflect.TypeFor[[]int]():
		p["type"], p["items"] = "array", map[string]any{"type": "integer"}
	case f.Type.Kind() == reflect.Struct:
		return object(v, f.Tag.Get("doc"))
	case f.Type == reflect.TypeFor[Mode]():
		p["enum"] = []Mode{Continuous, OnTrigger}
	case f.Type == reflect.TypeFor[[]Recipe]():
		p["type"], p["minItems"], p["items"] = "array", 1, object(reflect.ValueOf(defaultRecipe()), "One recipe.")
	case f.Type == reflect.TypeFor[[]Door]():
		p["type"], p["items"] = "array", object(reflect.ValueOf(DefaultDoor()), "One door.")
	case f.Type == reflect.TypeFor[[]Station]():
		p["type"], p["minItems"] = "array", 1
		p["items"] = object(reflect.ValueOf(DefaultStation()), "One inspection point.")
	case f.Name == "Threads":
		p["type"], p["minimum"], p["maximum"] = "integer", 1, 64
	case f.Name == "Confidence":
		p["type"], p["exclusiveMinimum"], p["exclusiveMaximum"] = "number", 0, 1
	case f.Name == "ID":
		p["type"], p["pattern"] = []string{"string", "integer"}, identifier.String()
	case f.Type.Kind() == reflect.Bool:
		p["type"] = "boolean"
	case f.Type.Kind() == reflect.Float64 || f.Type.Kind() == reflect.Int:
		p["type"] = "number"
	default:
		p["type"] = "string"
	}
	return p
}
