"""Plain PyTorch loops of the same updates, as a reference for ratios.

Written from the papers' equations in the usual eager style of published code: modules, `torch.optim.Adam`,
index sampling from a prefetched `np.random.choice`. Neither tuned nor slowed down.
"""

import copy

import numpy as np
import torch
from torch import nn

PREFETCH = 1000  # batches drawn at once


def mlp(inputs: int, outputs: int, width: int = 256) -> nn.Sequential:
    """An MLP with two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class Sampler:
    """Minibatches from indices drawn in advance."""

    def __init__(self, columns: dict[str, np.ndarray], probability: np.ndarray | None, batch_size: int):
        self.columns = {name: torch.from_numpy(column) for name, column in columns.items()}
        self.probability = probability
        self.batch_size = batch_size
        self.rows = len(columns["reward"])
        self.position = PREFETCH

    def batch(self) -> tuple[torch.Tensor, ...]:
        """The next minibatch."""
        if self.position == PREFETCH:
            size = (PREFETCH, self.batch_size)
            index = np.random.choice(self.rows, size, p=self.probability)  # noqa: NPY002 - as published
            self.index = torch.from_numpy(index)
            self.position = 0
        index = self.index[self.position]
        self.position += 1
        return tuple(column[index] for column in self.columns.values())


def follow(target: nn.Module, online: nn.Module) -> None:
    """Polyak averaging at rate 0.005."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.data.copy_(0.005 * fast.data + 0.995 * slow.data)


def minimize(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One optimizer step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class TD3BC:
    """Fujimoto & Gu, arXiv 2106.06860."""

    def __init__(self, states: int, actions: int):
        self.actor = mlp(states, actions)
        self.critics = nn.ModuleList([mlp(states + actions, 1) for _ in range(2)])
        self.target_actor, self.target_critics = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=3e-4)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=3e-4)
        self.count = 0

    def update(self, s, a, r, discount, s2) -> None:
        """One update."""
        self.count += 1
        with torch.no_grad():
            noise = (torch.randn_like(a) * 0.2).clamp(-0.5, 0.5)
            next_action = (torch.tanh(self.target_actor(s2)) + noise).clamp(-1, 1)
            x = torch.cat([s2, next_action], 1)
            next_q = torch.min(*(critic(x)[:, 0] for critic in self.target_critics))
            target = r + discount * next_q
        x = torch.cat([s, a], 1)
        loss = sum(nn.functional.mse_loss(critic(x)[:, 0], target) for critic in self.critics)
        minimize(self.critic_optimizer, loss)
        if self.count % 2 == 0:
            action = torch.tanh(self.actor(s))
            q = self.critics[0](torch.cat([s, action], 1))
            scale = 2.5 / q.abs().mean().detach()
            minimize(self.actor_optimizer, -scale * q.mean() + nn.functional.mse_loss(action, a))
            follow(self.target_critics, self.critics)
            follow(self.target_actor, self.actor)


class IQL:
    """Kostrikov et al., arXiv 2110.06169."""

    def __init__(self, states: int, actions: int):
        self.actor, self.value = mlp(states, actions), mlp(states, 1)
        self.log_std = nn.Parameter(torch.zeros(actions))
        self.critics = nn.ModuleList([mlp(states + actions, 1) for _ in range(2)])
        self.target_critics = copy.deepcopy(self.critics)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), lr=3e-4)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=3e-4)
        self.actor_optimizer = torch.optim.Adam([*self.actor.parameters(), self.log_std], lr=3e-4)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.actor_optimizer, 1_000_000)

    def update(self, s, a, r, discount, s2) -> None:
        """One update."""
        x = torch.cat([s, a], 1)
        with torch.no_grad():
            target_q = torch.min(*(critic(x)[:, 0] for critic in self.target_critics))
        difference = target_q - self.value(s)[:, 0]
        expectile = torch.where(difference > 0, 0.7, 0.3)
        minimize(self.value_optimizer, (expectile * difference**2).mean())
        with torch.no_grad():
            advantage = target_q - self.value(s)[:, 0]
            copied = torch.exp(3.0 * advantage).clamp(max=100.0)
            target = r + discount * self.value(s2)[:, 0]
        policy = torch.distributions.Normal(torch.tanh(self.actor(s)), self.log_std.clamp(-5, 2).exp())
        minimize(self.actor_optimizer, -(copied * policy.log_prob(a).sum(-1)).mean())
        self.schedule.step()
        loss = sum(nn.functional.mse_loss(critic(x)[:, 0], target) for critic in self.critics)
        minimize(self.critic_optimizer, loss)
        follow(self.target_critics, self.critics)


class Value:
    """OPER-A's step: two value networks, arXiv 2306.05412."""

    def __init__(self, states: int, actions: int):
        del actions
        self.values = nn.ModuleList([mlp(states, 1) for _ in range(2)])
        self.targets = copy.deepcopy(self.values)
        self.optimizer = torch.optim.Adam(self.values.parameters(), lr=3e-4)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 1_000_000)

    def update(self, s, a, r, discount, s2) -> None:
        """One update."""
        with torch.no_grad():
            target = r + discount * torch.min(*(value(s2)[:, 0] for value in self.targets))
        loss = sum(nn.functional.mse_loss(value(s)[:, 0], target) for value in self.values)
        minimize(self.optimizer, loss)
        self.schedule.step()
        follow(self.targets, self.values)


class CQL:
    """Kumar et al., arXiv 2006.04779: the policy once per state, all of a state's values in one call."""

    samples = 10

    def __init__(self, states: int, actions: int):
        self.policy = mlp(states, 2 * actions)
        self.critics = nn.ModuleList([mlp(states + actions, 1) for _ in range(2)])
        self.target_critics = copy.deepcopy(self.critics)
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.policy_optimizer = torch.optim.Adam(self.policy.parameters(), lr=3e-4)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=3e-4)
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=3e-4)

    def spread(self, s) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation at each state."""
        mean, log_std = self.policy(s).chunk(2, dim=-1)
        return mean, (log_std - 1).clamp(-20, 2).exp()

    @staticmethod
    def sample(mean, std) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions and their log densities."""
        normal = torch.distributions.Normal(mean, std)
        raw = normal.rsample()
        squash = 2 * (np.log(2) - raw - nn.functional.softplus(-2 * raw))
        return torch.tanh(raw), (normal.log_prob(raw) - squash).sum(-1)

    def several(self, s, mean, std) -> tuple[torch.Tensor, torch.Tensor]:
        """Several actions per state, from known mean and deviation."""
        wide = (len(s), self.samples, mean.shape[1])
        return self.sample(mean[:, None].expand(wide), std[:, None].expand(wide))

    def values(self, critic, s, kinds) -> torch.Tensor:
        """Values of all actions of each state."""
        together = torch.cat(kinds, 1)
        return critic(torch.cat([s[:, None].expand(-1, together.shape[1], -1), together], 2))[..., 0]

    def update(self, s, a, r, discount, s2) -> None:
        """One update."""
        size, count = len(s), self.samples
        mean, std = self.spread(s)
        action, log_density = self.sample(mean, std)
        alpha = self.log_alpha.exp().detach()
        q = torch.min(*(critic(torch.cat([s, action], 1))[:, 0] for critic in self.critics))
        policy_loss = (alpha * log_density - q).mean()
        alpha_loss = -(self.log_alpha * (log_density.detach() - a.shape[1])).mean()
        with torch.no_grad():
            next_mean, next_std = self.spread(s2)
            next_action, _ = self.sample(next_mean, next_std)
            x = torch.cat([s2, next_action], 1)
            target = r + discount * torch.min(*(critic(x)[:, 0] for critic in self.target_critics))
            current, current_density = self.several(s, mean, std)
            following, following_density = self.several(s2, next_mean, next_std)
            uniform = torch.rand(size, count, a.shape[1]) * 2 - 1
            density = torch.cat(
                [torch.full((size, count), a.shape[1] * np.log(0.5)), following_density, current_density], 1
            )
        critic_loss = torch.zeros(())
        for critic in self.critics:
            values = self.values(critic, s, [a[:, None], uniform, following, current])
            gap = torch.logsumexp(values[:, 1:] - density, 1) - values[:, 0]
            critic_loss = critic_loss + ((values[:, 0] - target) ** 2).mean() + 5 * gap.mean()
        self.policy_optimizer.zero_grad()
        self.alpha_optimizer.zero_grad()
        policy_loss.backward()
        alpha_loss.backward()
        # The policy loss left gradients in the critics too; `minimize` clears them.
        minimize(self.critic_optimizer, critic_loss)
        self.policy_optimizer.step()
        self.alpha_optimizer.step()
        follow(self.target_critics, self.critics)


class RepeatedCQL(CQL):
    """The same, batched like JaxCQL: the policy for every sample, values in one call per kind of action."""

    def several(self, s, mean, std) -> tuple[torch.Tensor, torch.Tensor]:
        """Several actions per state."""
        return self.sample(*self.spread(s[:, None].expand(-1, self.samples, -1)))

    def values(self, critic, s, kinds) -> torch.Tensor:
        """Values of all actions of each state."""
        return torch.cat([super(RepeatedCQL, self).values(critic, s, [kind]) for kind in kinds], 1)


class Clone:
    """Onestep RL's first stage, arXiv 2106.08909: a normal policy, by likelihood."""

    def __init__(self, states: int, actions: int):
        self.policy = mlp(states, 2 * actions, 1024)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-4)

    def normal(self, policy: nn.Module, s: torch.Tensor) -> torch.distributions.Normal:
        """The policy's normal at each state."""
        mean, spread = policy(s).chunk(2, dim=-1)
        return torch.distributions.Normal(mean.tanh(), (-5 + 2.5 * (spread.tanh() + 1)).exp())

    def update(self, s, a, r, discount, s2) -> None:
        """One update."""
        minimize(self.optimizer, -self.normal(self.policy, s).log_prob(a).sum(-1).mean())


class Sarsa:
    """Its second stage: the value of the data's policy; the target network follows every second update."""

    def __init__(self, states: int, actions: int):
        self.critic = mlp(states + actions, 1, 1024)
        self.target = copy.deepcopy(self.critic)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=1e-4)
        self.updates = 0

    def update(self, s, a, r, discount, s2) -> None:
        """One update; the data's action stands in for the next one."""
        with torch.no_grad():
            target = r + discount * self.target(torch.cat([s2, a], 1))[:, 0]
        q = self.critic(torch.cat([s, a], 1))[:, 0]
        minimize(self.optimizer, nn.functional.mse_loss(q, target))
        self.updates += 1
        if self.updates % 2 == 0:
            follow(self.target, self.critic)


class ExpWeight(Clone):
    """Its last stage: exponential weights, with a baseline from 10 samples."""

    def __init__(self, states: int, actions: int):
        super().__init__(states, actions)
        self.behavior = copy.deepcopy(self.policy)
        self.critic = mlp(states + actions, 1, 1024)

    def update(self, s, a, r, discount, s2) -> None:
        """One update."""
        with torch.no_grad():
            samples = self.normal(self.behavior, s).sample((10,)).movedim(0, 1)
            together = torch.cat([a[:, None], samples], 1)
            states = s[:, None].expand(-1, together.shape[1], -1)
            q = self.critic(torch.cat([states, together], 2))[..., 0]
            weight = (q[:, 0] - q[:, 1:].mean(1)).exp().clamp(max=100)
        likelihood = self.normal(self.policy, s).log_prob(a.clamp(-1 + 1e-4, 1 - 1e-4)).sum(-1)
        minimize(self.optimizer, -(weight * likelihood).mean())


ALGORITHMS = {
    "td3-bc": TD3BC,
    "iql": IQL,
    "value": Value,
    "cql": CQL,
    "cql-repeated": RepeatedCQL,
    "clone": Clone,
    "sarsa": Sarsa,
    "exp-weight": ExpWeight,
}
