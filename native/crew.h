// The library's own threads, which sleep between calls. Used where OpenMP is absent or has OMP_WAIT_POLICY=PASSIVE.
#pragma once
#include <pthread.h>
#include <unistd.h>
#include <atomic>

namespace chronosplat {

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

// The caller never waits for a thread that has not started, so a thread without a core delays nothing. Waiting spins for
// about as long as waking a thread takes: enough between two loops of a render, too short to starve another process.
class Crew {
  public:
    // Calls body(job) in this thread and in up to threads - 1 others. Returns false without a call if another caller is running.
    bool run(int threads, void* (*body)(void*), void* job) {
        if (pthread_mutex_trylock(&owner)) return false;
        if (process != getpid()) reset();
        for (; started < threads - 1 && start(); started++) {}
        pthread_mutex_lock(&lock);
        this->body = body, this->job = job, places = threads - 1;
        pthread_cond_broadcast(&work);
        pthread_mutex_unlock(&lock);
        body(job);
        pthread_mutex_lock(&lock);
        places = 0;
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < SPIN && active > 0; i++) relax();
        pthread_mutex_lock(&lock);
        while (active > 0) pthread_cond_wait(&done, &lock);
        pthread_mutex_unlock(&lock);
        pthread_mutex_unlock(&owner);
        return true;
    }

  private:
    static constexpr int SPIN = 2000;  // pauses: 30 to 100 microseconds
    pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
    void* (*body)(void*) = nullptr;
    void* job = nullptr;
    std::atomic<int> places{0}, active{0};  // written under the lock
    int started = 0;
    pid_t process = 0;

    void reset() {  // after fork the threads are gone and the locks may be held
        lock = PTHREAD_MUTEX_INITIALIZER, work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
        places = active = started = 0, process = getpid();
    }
    bool start() {
        pthread_t thread;
        auto entry = [](void* crew) -> void* {
            ((Crew*)crew)->serve();
            return nullptr;
        };
        return pthread_create(&thread, nullptr, entry, this) == 0 && pthread_detach(thread) == 0;
    }
    void serve() {
        for (;;) {
            for (int i = 0; i < SPIN && places <= 0; i++) relax();
            pthread_mutex_lock(&lock);
            while (places <= 0) pthread_cond_wait(&work, &lock);
            places--, active++;
            pthread_mutex_unlock(&lock);
            body(job);
            pthread_mutex_lock(&lock);
            if (--active == 0) pthread_cond_signal(&done);
            pthread_mutex_unlock(&lock);
        }
    }
};

}  // namespace chronosplat
