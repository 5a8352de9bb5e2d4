package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"
)

// machine is what the figures depend on.
type machine struct {
	// Processor and Memory are empty where they cannot be found out.
	Processor, Memory string
	Cores             int
	System            string
	Commit            string
	// Versions are those of Go, the control plane and the libraries that are compared.
	Versions []version
}

type version struct{ Name, Version string }

// libraries are the modules whose versions matter to the figures.
var libraries = []string{
	"github.com/go-jose/go-jose/v4", "github.com/golang-jwt/jwt/v5", "github.com/lestrrat-go/jwx/v3",
	"github.com/maypok86/otter/v2", "sigs.k8s.io/controller-runtime",
}

func thisMachine(ctx context.Context) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Versions: []version{{"Go", runtime.Version()}}}
	if proc, err := procfs.NewDefaultFS(); err == nil {
		if info, err := proc.CPUInfo(); err == nil && len(info) > 0 {
			m.Processor = info[0].ModelName
		}
		if memory, err := proc.Meminfo(); err == nil && memory.MemTotalBytes != nil {
			m.Memory = fmt.Sprintf("%.0f GiB", float64(*memory.MemTotalBytes)/(1<<30))
		}
	}
	var err error
	if m.System, err = output(ctx, "uname", "-srm"); err != nil {
		return machine{}, err
	}
	if m.Commit, err = output(ctx, "git", "describe", "--always", "--tags", "--dirty"); err != nil {
		return machine{}, err
	}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	for _, program := range []string{"kube-apiserver", "etcd"} {
		text, err := output(ctx, filepath.Join(assets, program), "--version")
		if err != nil {
			return machine{}, fmt.Errorf("run this with `make bench`, which gets the control plane: %w", err)
		}
		first, _, _ := strings.Cut(text, "\n")
		m.Versions = append(m.Versions, version{program, first[strings.LastIndexByte(first, ' ')+1:]})
	}
	for _, library := range libraries {
		text, err := output(ctx, "go", "list", "-m", "-f", "{{.Version}}", library)
		if err != nil {
			return machine{}, err
		}
		m.Versions = append(m.Versions, version{library, text})
	}
	return m, nil
}

// output is what a program prints, without the space around it.
func output(ctx context.Context, program string, arguments ...string) (string, error) {
	text, err := exec.CommandContext(ctx, program, arguments...).Output() //nolint:gosec // All of them are named in this file.
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(arguments, " "), err)
	}
	return strings.TrimSpace(string(text)), nil
}
