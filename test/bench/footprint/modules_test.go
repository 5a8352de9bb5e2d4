package footprint

import (
	"path/filepath"
	"testing"
)

func TestByModule(t *testing.T) {
	source, file := "test/bench/footprint/testdata/program/main.go", filepath.Join(t.TempDir(), "program")
	if _, err := build(source, file, ""); err != nil {
		t.Fatal(err)
	}
	bytes, err := byModule(file)
	if err != nil {
		t.Fatal(err)
	}
	const large, little = 1 << 20, 16 << 10
	if own := bytes["main"]; own < large || own > large+little {
		t.Errorf("the program has %.0f bytes of its own, which are not a little more than the %d of its variable", own, large)
	}
	if bytes[standard] < 500<<10 || bytes[unattributed] < 0 || bytes[unattributed] > bytes[standard]/8 {
		t.Errorf("the standard library has %.0f bytes, and %.0f are nobody's", bytes[standard], bytes[unattributed])
	}

	if _, err := build(source, file, "-s -w"); err != nil {
		t.Fatal(err)
	}
	if bytes, err := byModule(file); err == nil {
		t.Errorf("without symbols it measures %v", bytes)
	}
}

func TestModule(t *testing.T) {
	m := measurement{modules: map[string]string{"main": "example.com/own"}}
	for _, module := range []string{"example.com/own", "example.com/own/v2", "example.com/inf.v0"} {
		m.modules[module] = module
	}
	for symbol, want := range map[string]string{
		"main.run.func1":                           "example.com/own",
		"example.com/own/internal/a.(*T).Method":   "example.com/own",
		"example.com/own/v2/a.F":                   "example.com/own/v2",
		"example.com/inf%2ev0.(*Dec).Add":          "example.com/inf.v0",
		"net/http.(*Server).Serve":                 standard,
		"runtime.main":                             standard,
		"vendor/golang.org/x/net/idna.init":        standard,
		"slices.Sort[go.shape.example.com/own.T]":  standard,
		"example.com/own.F[net/http.Header]":       "example.com/own",
		"type:.eq.[3]example.com/own/a.T":          "example.com/own",
		"go:itab.*example.com/own/v2.T,io.Reader":  "example.com/own/v2",
		"type:.eq.struct { F uintptr; X0 string }": standard,
	} {
		if got := m.module(symbol); got != want {
			t.Errorf("%s is of the module %s, not of %s", symbol, want, got)
		}
	}
	for name, want := range map[string]string{
		"map[string]*example.com/own/a.T":                   "example.com/own",
		"func(context.Context, example.com/own/a.T)":        standard,
		"func(...example.com/own/a.T)":                      "example.com/own",
		"noalg.map.group[string]example.com/own/v2.T":       "example.com/own/v2",
		"*go.shape.struct { example.com/inf%2ev0.a []uint8": "example.com/inf.v0",
		"interface {}": standard,
	} {
		if got := m.moduleOfType(name); got != want {
			t.Errorf("the type %s is of the module %s, not of %s", name, want, got)
		}
	}
}
