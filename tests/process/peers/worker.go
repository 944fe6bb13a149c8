// A worker that looks at what the Go libraries for Einhorn workers look at, and tells what they
// tell: `goji` as goji's bind package does, `go-einhorn` as that one does.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

func number(name string) int {
	value, err := strconv.Atoi(os.Getenv("EINHORN_" + name))
	if err != nil {
		log.Fatalf("EINHORN_%s: %v", name, err)
	}
	return value
}

func listener(index int) net.Listener {
	file := os.NewFile(uintptr(number("FD_"+strconv.Itoa(index))), "einhorn")
	listener, err := net.FileListener(file)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

// A child of a worker has its environment, and is told apart by its parent.
func childIsNone() {
	child := exec.Command("sh", "-c", `test "$PPID" != "$EINHORN_MASTER_PID"`)
	if err := child.Run(); err != nil {
		log.Fatalf("a child takes itself for a worker: %v", err)
	}
}

func acknowledge(style string) error {
	master, err := net.Dial("unix", os.Getenv("EINHORN_SOCK_PATH"))
	if err != nil {
		return err
	}
	defer master.Close()
	if style == "goji" {
		_, err = fmt.Fprintf(master, `{"command": "worker:ack", "pid": %d}`+"\n", os.Getpid())
		return err
	}
	// It misspells the first key, has no name for the second, and ends the line twice.
	message := struct {
		Command string `json:"comand"`
		Pid     int
	}{"worker:ack", os.Getpid()}
	if err := json.NewEncoder(master).Encode(message); err != nil {
		return err
	}
	_, err = master.Write([]byte("\n"))
	return err
}

func main() {
	if number("MASTER_PID") != os.Getppid() {
		log.Fatal("not a worker")
	}
	count := number("FD_COUNT")
	for index := 0; index < count; index++ {
		syscall.CloseOnExec(number("FD_" + strconv.Itoa(index)))
	}
	childIsNone()
	server := http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(response, "hello from %d\n", os.Getpid())
	})
	for index := 0; index < count; index++ {
		go http.Serve(listener(index), server)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR2)
	if err := acknowledge(os.Args[1]); err != nil {
		log.Fatal(err)
	}
	<-told
}
