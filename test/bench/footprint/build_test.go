package footprint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const (
	operator = "./cmd/keyturn"
	// floor is a file and no package, because so it is built with the versions of the operator's go.mod.
	floor = "test/bench/footprint/floor/main.go"
)

// binarySizes are in bytes.
type binarySizes struct {
	operator, floor float64
	// reflectMethods is the number of functions in the operator for which the linker keeps all methods of all types.
	reflectMethods float64
}

// strippedSizes builds both as the image has the operator.
var strippedSizes = sync.OnceValues(func() (sizes binarySizes, err error) {
	err = inFolder(func(folder string) error {
		for source, size := range map[string]*float64{operator: &sizes.operator, floor: &sizes.floor} {
			file := filepath.Join(folder, "program")
			// -dumpdep prints what the linker keeps, and for which reason.
			kept, err := build(source, file, "-s -w -buildid= -dumpdep")
			if err != nil {
				return err
			}
			if !bytes.Contains(kept, []byte(" -> ")) {
				return errors.New("the linker does not say what it keeps: -dumpdep prints something else than it did")
			}
			if source == operator {
				sizes.reflectMethods = float64(bytes.Count(kept, []byte("<ReflectMethod>\n")))
			}
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			*size = float64(info.Size())
		}
		return nil
	})
	return sizes, err
})

// own is the module of the operator.
const own = "github.com/keyturn/keyturn"

// moduleSizes are the bytes of each module.
type moduleSizes struct {
	operator, floor map[string]float64
}

// dependencies builds both with their symbols, to measure what is in them.
var dependencies = sync.OnceValues(func() (sizes moduleSizes, err error) {
	err = inFolder(func(folder string) error {
		for source, modules := range map[string]*map[string]float64{operator: &sizes.operator, floor: &sizes.floor} {
			file := filepath.Join(folder, "program")
			if _, err := build(source, file, "-compressdwarf=false"); err != nil {
				return err
			}
			if *modules, err = byModule(file); err != nil {
				return err
			}
		}
		return nil
	})
	return sizes, err
})

// build compiles with the flags of hack/image, and returns what the linker prints. In short mode it leaves out those for
// which the dependencies would have to be compiled anew.
func build(source, file, linkerFlags string) ([]byte, error) {
	arguments := []string{"build", "-buildvcs=false", "-ldflags=" + linkerFlags, "-o", file}
	environment := append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOOS=linux")
	if !testing.Short() {
		arguments = append(arguments, "-trimpath")
		environment = append(environment, "CGO_ENABLED=0")
	}
	command := exec.Command("go", append(arguments, source)...)
	command.Dir = filepath.Join("..", "..", "..")
	command.Env = environment
	output, err := command.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("building %s: %w\n%s", source, err, output[:min(len(output), 4096)])
	}
	return output, nil
}

// inFolder does something in a folder that is removed afterwards.
func inFolder(do func(folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "keyturn-footprint-")
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(folder)) }()
	return do(folder)
}
