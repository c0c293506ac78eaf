"""Weights of skatom's networks in those of SchNetPack and PyTorch Geometric."""

import torch
from torch.nn.functional import softplus

CUTOFF = 5.0


class ShiftedSoftplus(torch.nn.Module):
    """The activation behind the last layer of filters, which both peers leave out."""

    def forward(self, x):
        return softplus(x) - torch.log(torch.tensor(2.0, dtype=x.dtype))


@torch.no_grad()
def copy_weights(model, peer, network, weights):
    """The model, whose equations are then skatom's."""
    w = {name: torch.tensor(weights[name]) for name in weights.files}
    net, species = model.network, w.pop("species")
    _sharpen(net.distance_expansion if peer == "pyg" else net.representation.radial_basis)
    if peer == "pyg":
        embedding, head = net.embedding, (net.lin1, net.lin2)
        for t, block in enumerate(net.interactions):
            _schnet_block(
                w, t, block.mlp[0], block.mlp[2], block.conv.lin1, block.conv.lin2, block.lin
            )
            block.mlp.append(ShiftedSoftplus())
    else:
        parts, head = net.representation, net.output_modules[0].outnet
        embedding = parts.embedding
        fill = _fill_schnet if network == "schnet" else _fill_painn
        fill(parts, w)
    embedding.weight[species] = w["embedding"]
    _set(head[0], w["head_1"], w["head_bias_1"])
    _set(head[1], w["head_2"], w["head_bias_2"])
    return model


def _sharpen(radial):
    """Radial functions whose constants were made in single precision."""
    for name in ("offset", "offsets", "widths", "freqs"):
        values = getattr(radial, name, None)
        if values is None:
            continue
        n = len(values)
        if name == "freqs":
            exact = torch.arange(1, n + 1, dtype=torch.float64) * torch.pi / CUTOFF
        elif name == "widths":
            exact = torch.full((n,), CUTOFF / (n - 1), dtype=torch.float64)
        else:
            exact = torch.linspace(0, CUTOFF, n, dtype=torch.float64)
        values.copy_(exact)
    if hasattr(radial, "coeff"):
        radial.coeff = -0.5 * ((len(radial.offset) - 1) / CUTOFF) ** 2


def _set(layer, matrix, bias=None):
    layer.weight.copy_(matrix.T)
    if bias is not None:
        layer.bias.copy_(bias.flatten())


def _schnet_block(w, t, filter_1, filter_2, first, second, last):
    _set(filter_1, w["filter_1"][t], w["filter_bias_1"][t])
    _set(filter_2, w["filter_2"][t], w["filter_bias_2"][t])
    _set(first, w["atoms_to_filters"][t])
    _set(second, w["filters_to_atoms"][t], w["filters_to_atoms_bias"][t])
    _set(last, w["dense"][t], w["dense_bias"][t])


def _fill_schnet(parts, w):
    for t, block in enumerate(parts.interactions):
        _schnet_block(w, t, *block.filter_network, block.in2f, *block.f2out)
        block.filter_network[1].activation = ShiftedSoftplus()


def _fill_painn(parts, w):
    _set(parts.filter_net, torch.cat([*w["filter"]], 1), w["filter_bias"])
    for t, (message, mixing) in enumerate(zip(parts.interactions, parts.mixing, strict=True)):
        first, second = message.interatomic_context_net
        _set(first, w["message_1"][t], w["message_bias_1"][t])
        _set(second, w["message_2"][t], w["message_bias_2"][t])
        # its products are in the order of skatom's, but V stands before U
        u, v = w["mixing"][t].chunk(2, 1)
        _set(mixing.mu_channel_mix, torch.cat([v, u], 1))
        first, second = mixing.intraatomic_context_net
        _set(first, w["update_1"][t], w["update_bias_1"][t])
        of_vectors, of_products, own = w["update_2"][t].chunk(3, 1)
        biases = w["update_bias_2"][t].chunk(3)
        _set(
            second,
            torch.cat([own, of_vectors, of_products], 1),
            torch.cat([biases[2], biases[0], biases[1]]),
        )
        mixing.epsilon = 1e-4
